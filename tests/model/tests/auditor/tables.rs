//! The same of tables with a history.

use neobank_model::world::World;
use neobank_sessions::*;

/// Changes, corrections and a fact ahead of its time, for damages to be done to.
pub fn fill(bank: &mut Bank) {
    for statement in [
        "update public.limits set amount = 12 where account = 1",
        "update public.limits set amount = 13 where account = 1",
        "delete from public.limits where account = 2",
        "select temporal.update_portion('public.limits', '{\"account\": 1, \"kind\": 1}', '2002-01-01Z', '2003-01-01Z', '{\"amount\": 3}')",
        "update public.tariffs set amount = 11 where tariff = 1",
        "select temporal.insert_portion('public.tariffs', '{\"tariff\": 4, \"amount\": 4}', '2002-01-01Z', '2003-01-01Z')",
        "update public.offers set amount = 8 where customer = 2",
    ] {
        bank.db.run(statement);
    }
}

/// The constraints of the tables would refuse it.
fn loose(table: &str) -> String {
    format!(
        "do $$ declare c record; begin
           for c in select conrelid::regclass as t, conname from pg_constraint
                    where contype = 'c' and conrelid::regclass::text like 'public_history.{table}%' loop
             execute format('alter table %s drop constraint %I', c.t, c.conname);
           end loop; end $$;"
    )
}

pub fn damages(_: &World) -> Vec<(String, &'static str)> {
    let off = "set local neobank.history_guard = off; set local session_replication_role = replica;";
    let (overlap, empty, unknown) = ("overlap on both axes", "empty or inverted", "known no more, or later");
    let (present, covered, yet) = ("believes of the present", "a child is believed", "yet to come");
    let limits = loose("limits");
    [
        ("update public_history.limits_past set history_valid_to = history_valid_to + interval '1 microsecond' \
          where history_ended_live".to_owned(), overlap),
        ("update public_history.limits_current set history_valid_from = history_valid_from - interval '1 microsecond'".to_owned(), overlap),
        ("insert into public_history.limits_past select (c).* from (
            select jsonb_populate_record(p, jsonb_build_object('history_valid_from', '2002-06-01Z', 'history_valid_to', '2002-07-01Z')) as c
            from public_history.limits_past p where history_valid_from = '2002-01-01Z') x".to_owned(), overlap),
        ("update public_history.limits_superseded set history_known_to = history_known_to + interval '1 microsecond'".to_owned(), overlap),
        (format!("{limits} update public_history.limits_past set history_valid_to = history_valid_from where history_valid_to = '2002-01-01Z'"), empty),
        (format!("{limits} update public_history.limits_past set history_valid_from = history_valid_to + interval '1 s' where history_valid_to = '2002-01-01Z'"), empty),
        (format!("{limits} update public_history.limits_superseded set history_known_from = history_known_to"), unknown),
        (format!("{limits} update public_history.limits_superseded set history_known_from = history_known_to + interval '1 s'"), unknown),
        ("update public_history.limits_current set history_known_from = clock_timestamp() + interval '1 hour'".to_owned(), yet),
        ("update public_history.limits_superseded set history_known_to = clock_timestamp() + interval '1 hour'".to_owned(), yet),
        ("update public.limits set amount = 14".to_owned(), present),
        ("update public.limits set link = 14".to_owned(), present),
        ("delete from public.limits".to_owned(), present),
        ("insert into public.limits values (7, 7, 7, 7)".to_owned(), present),
        ("delete from public_history.offers_current".to_owned(), present),
        ("update public_history.tariffs_current set amount = amount + 1".to_owned(), present),
        ("update public_history.tariffs_current set history_valid_from = '2011-01-01' where tariff = 2".to_owned(), covered),
        ("delete from public_history.tariffs_past".to_owned(), covered),
        ("update public_history.offers_current set link = 4".to_owned(), covered),
        ("update public_history.offers_past set link = 9".to_owned(), covered),
        ("update public_history.offers_current set history_valid_from = '1999-01-01' where link = 1".to_owned(), covered),
    ]
    .into_iter()
    .map(|(damage, rule)| (format!("{off} {damage}"), rule))
    .collect()
}
