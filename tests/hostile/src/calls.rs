//! Statements: calls in every notation, queries with odd conditions, writes to what a role may write.

use crate::catalog::{Argument, Form, Function, Relation};
use crate::values::Maker;

/// How much of a call is wrong.
#[derive(Clone, Copy)]
enum Wrong {
    Nothing,
    OneArgument(usize),
    Some,
}

fn one_value(maker: &mut Maker, name: &str, kind: &str, foul: bool) -> String {
    if foul { maker.foul(name, kind) } else { maker.good(name, kind) }
}

/// Sense prevails, so that a call gets past its first check; then one argument is wrong, or several are.
fn degree(maker: &mut Maker, arguments: usize) -> Wrong {
    match maker.dice.below(10) {
        0..=2 => Wrong::Nothing,
        3..=7 if arguments > 0 => Wrong::OneArgument(maker.dice.below(arguments)),
        _ => Wrong::Some,
    }
}

fn is_foul(maker: &mut Maker, wrong: Wrong, nth: usize) -> bool {
    match wrong {
        Wrong::Nothing => false,
        Wrong::OneArgument(one) => one == nth,
        Wrong::Some => maker.chance(35),
    }
}

/// `function(arguments)`, by position or by name, with some of what has a default left out.
pub fn call(maker: &mut Maker, function: &Function) -> String {
    let wrong = degree(maker, function.arguments.len());
    maker.length = maker.dice.below(4) + 1;
    let named = maker.chance(50) && function.arguments.iter().all(|a| !a.name.is_empty() && !a.variadic);
    // Where many arguments have a default, hardly any two of them go together.
    let left_out = *maker.pick(&[20, 60, 95]);
    let mut passed = Vec::new();
    for (nth, argument) in function.arguments.iter().enumerate() {
        let foul = is_foul(maker, wrong, nth);
        if argument.has_default && !foul && maker.chance(left_out) {
            if named {
                continue;
            }
            if !function.arguments[nth..].iter().any(|a| a.variadic) {
                break;
            }
        }
        let value = one_value(maker, &argument.name, &argument.kind, foul);
        passed.push(written(argument, value, named));
    }
    format!("{}({})", function.name, passed.join(", "))
}

fn written(argument: &Argument, value: String, named: bool) -> String {
    match (argument.variadic, named) {
        (true, _) => format!("variadic {value}"),
        (_, true) => format!("\"{}\" => {value}", argument.name),
        _ => value,
    }
}

/// The call as a statement: mostly plain, sometimes twice in one statement or below an exception block.
pub fn statement(maker: &mut Maker, function: &Function) -> String {
    let call = call(maker, function);
    match function.form {
        Form::Procedure => format!("call {call}"),
        Form::Trigger => format!("select {call}"),
        Form::Function => match maker.dice.below(12) {
            0 => format!("select {call} from generate_series(1, 2)"),
            1 => format!(
                "do $block$ begin perform * from {call}; \
                 exception when insufficient_privilege then perform * from {call}; end $block$"
            ),
            _ => format!("select * from {call}"),
        },
    }
}

/// Every column of a table or view against a value of its type.
pub fn query(maker: &mut Maker, relation: &Relation) -> String {
    let (column, kind) = maker.pick(&relation.columns).clone();
    let foul = maker.chance(60);
    maker.length = 2;
    let value = one_value(maker, &column, &kind, foul);
    let operator = maker.one_of(match kind.as_str() {
        "jsonb" => &["=", "@>", "<@", "<"],
        "boolean" | "uuid" => &["=", "<>", "<", ">="],
        _ => &["=", "<>", "<", ">=", "is distinct from"],
    });
    let order = if maker.chance(30) { format!(" order by {column} desc nulls last") } else { String::new() };
    format!("select * from {} where {column} {operator} {value}{order} limit 200", relation.name)
}

/// An insert or update of what the role may write; none where it may not.
pub fn write(maker: &mut Maker, relation: &Relation) -> Option<String> {
    let wrong = degree(maker, relation.insertable.len());
    maker.length = 2;
    if !relation.insertable.is_empty() && (relation.updatable.is_empty() || maker.chance(60)) {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (nth, (column, kind)) in relation.insertable.iter().enumerate() {
            let foul = is_foul(maker, wrong, nth);
            if foul || maker.chance(70) {
                columns.push(column.clone());
                values.push(one_value(maker, column, kind, foul));
            }
        }
        if columns.is_empty() {
            return None;
        }
        return Some(format!("insert into {} ({}) values ({})", relation.name, columns.join(", "), values.join(", ")));
    }
    if relation.updatable.is_empty() {
        return None;
    }
    let (column, kind) = maker.pick(&relation.updatable).clone();
    let foul = maker.chance(60);
    let value = one_value(maker, &column, &kind, foul);
    let (key, key_kind) = maker.pick(&relation.columns).clone();
    let found = maker.good(&key, &key_kind);
    Some(format!("update {} set {column} = {value} where {key} = {found}", relation.name))
}
