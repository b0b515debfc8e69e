//! `docs/grafana/neobank.json`: that it is what Grafana takes, and that each of its queries asks for metrics and labels
//! that `troubleshoot.metrics` gives, as they are to be asked for.

use crate::metrics::{Sample, parsed};
use neobank_sessions::*;
use serde_json::Value;
use std::collections::BTreeSet;

/// What Prometheus itself adds to each series.
const OF_SCRAPES: [&str; 2] = ["instance", "job"];

fn dashboard() -> Value {
    let path = repository_root().join("docs/grafana/neobank.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().unwrap_or_else(|| panic!("no list {key} in {of}"))
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("no text {key} in {of}"))
}

/// A selector of a query: its metric, label, operator and value of each condition, and whether a rate is taken of it.
struct Selector<'a> {
    metric: &'a str,
    conditions: Vec<(&'a str, &'a str, &'a str)>,
    is_rate: bool,
}

/// The selectors of a query; each has conditions, by which at least the server is chosen.
fn selectors(query: &str) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    for (at, _) in query.match_indices("neobank_") {
        let end = at + query[at..].find('{').unwrap_or_else(|| panic!("no conditions: {query}"));
        let metric = &query[at..end];
        assert!(metric.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{metric} in {query}");
        let close = end + query[end..].find('}').unwrap_or_else(|| panic!("conditions do not end: {query}"));
        let conditions = query[end + 1..close].split(',').map(|condition| {
            let operator = ["=~", "!=", "!~", "="].into_iter().find(|operator| condition.contains(operator));
            let operator = operator.unwrap_or_else(|| panic!("{condition} in {query}"));
            let (label, value) = condition.split_once(operator).expect("it has the operator");
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            (label, operator, value.unwrap_or_else(|| panic!("{condition} in {query}")))
        });
        let is_rate = query[..at].ends_with("rate(") && query[close..].starts_with("}[$__rate_interval])");
        found.push(Selector { metric, conditions: conditions.collect(), is_rate });
    }
    found
}

/// The labels that a legend shows.
fn legend(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).map(|rest| rest.split_once("}}").expect("it is closed").0.trim()).collect()
}

/// Queries of panels, with their legends.
fn queries(dashboard: &Value) -> Vec<(&str, &str)> {
    let of_panel =
        |panel| list(panel, "targets").iter().map(|target| (text(target, "expr"), text(target, "legendFormat")));
    list(dashboard, "panels").iter().flat_map(of_panel).collect()
}

/// Holds each query against these samples; what `elsewhere` names is not asked for.
pub fn asks_for_what_there_is(metrics: &str, elsewhere: &[&str]) {
    let (kinds, samples) = parsed(metrics);
    let of = |metric: &str| -> Vec<&Sample> { samples.iter().filter(|(name, ..)| name == metric).collect() };
    let dashboard = dashboard();
    for (query, shown) in queries(&dashboard) {
        let selectors = selectors(query);
        assert!(!selectors.is_empty(), "{query} asks for nothing");
        for selector in selectors.iter().filter(|selector| !elsewhere.contains(&selector.metric)) {
            let metric = selector.metric;
            let kind = kinds.get(metric).unwrap_or_else(|| panic!("there is no {metric}, which {query} asks for"));
            assert_eq!(
                kind == "counter",
                selector.is_rate,
                "{query}: rates are of counters, and counters are drawn as rates"
            );
            let series = of(metric);
            let has = |label: &str| {
                OF_SCRAPES.contains(&label)
                    || series.iter().all(|(_, labels, _)| labels.iter().any(|(name, _)| name == label))
            };
            assert!(
                selector.conditions.contains(&("instance", "=~", "$instance")),
                "{query} is not of the chosen server"
            );
            for (label, operator, value) in &selector.conditions {
                assert!(has(label), "{metric} has no label {label}: {query}");
                let given =
                    |(_, labels, _): &&Sample| labels.iter().any(|(name, given)| name == label && given == value);
                assert!(*operator != "=" || series.iter().any(given), "{metric} never has {label} {value}: {query}");
            }
            for label in legend(shown) {
                assert!(has(label), "{metric} has no label {label}, which its legend shows");
            }
        }
    }
    for variable in list(&dashboard["templating"], "list").iter().filter(|variable| variable["type"] == "query") {
        let query = text(&variable["query"], "query");
        let inside =
            query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect("it asks for a label");
        let (metric, label) = inside.split_once(", ").expect("of a metric");
        assert!(kinds.contains_key(metric) && OF_SCRAPES.contains(&label), "{query}");
    }
}

#[test]
fn it_asks_for_metrics_that_there_are() {
    let mut bank = Bank::new();
    bank.db.run("create table large as select i, repeat('x', 90) from generate_series(1, 20000) i");
    bank.db.run("vacuum analyze large");
    bank.db.run("select pg_create_physical_replication_slot(current_database() || '_grafana', true)");
    let metrics: String = bank.db.query_one("select troubleshoot.metrics()", &[]).expect("it answers").get(0);
    bank.db.run("select pg_drop_replication_slot(current_database() || '_grafana')");
    // A standby and pg_stat_statements are not everybody's; those of a primary that has both are in `report`.
    let elsewhere = ["neobank_replication_lag_bytes", "neobank_statements_total", "neobank_statement_seconds_total"];
    asks_for_what_there_is(&metrics, &elsewhere);
}

/// Grafana fills in what is missing by its own version's taste, and puts panels that overlap anywhere.
#[test]
fn it_is_what_grafana_takes() {
    let dashboard = dashboard();
    let uid = text(&dashboard, "uid");
    assert!(uid.len() <= 40 && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{uid}");
    text(&dashboard, "title");
    // The number is the database's that it is imported into.
    assert!(dashboard.get("id").is_none_or(Value::is_null));
    assert!(
        dashboard["schemaVersion"].as_i64().is_some_and(|version| (36..=41).contains(&version)),
        "of Grafana 9 to 12"
    );
    assert!(text(&dashboard["time"], "from").starts_with("now-") && text(&dashboard["time"], "to") == "now");
    let variables: Vec<&str> =
        list(&dashboard["templating"], "list").iter().map(|variable| text(variable, "name")).collect();
    let sources: Vec<&Value> =
        list(&dashboard["templating"], "list").iter().filter(|variable| variable["type"] == "datasource").collect();
    assert!(sources.len() == 1 && sources[0]["name"] == "datasource" && sources[0]["query"] == "prometheus");
    let source = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        let id = panel["id"].as_i64().filter(|id| *id > 0).expect("a number");
        assert!(ids.insert(id), "{title} has the number of another");
        assert!(["stat", "timeseries"].contains(&text(panel, "type")), "{title}");
        assert_eq!(panel["datasource"], source, "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{title} has no {key}"));
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is beside the 24 columns");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))) {
            assert!(taken.insert(cell), "{title} is over another at {cell:?}");
        }
        let units = ["short", "percentunit", "s", "ops", "bytes", "Bps"];
        assert!(units.contains(&text(&panel["fieldConfig"]["defaults"], "unit")), "{title}");
        assert!(panel["fieldConfig"]["overrides"].is_array() && panel["options"].is_object(), "{title}");
        if panel["type"] == "timeseries" {
            assert!(panel["options"]["legend"]["calcs"].is_array(), "{title}");
        }
        let mut names = BTreeSet::new();
        for target in list(panel, "targets") {
            assert!(names.insert(text(target, "refId")), "{title} has two queries of one name");
            assert_eq!(target["datasource"], source, "{title}");
        }
        assert!(!names.is_empty(), "{title} asks for nothing");
    }
    // No row is left empty between two.
    let rows: BTreeSet<u64> = taken.iter().map(|(_, row)| *row).collect();
    assert!(rows.iter().copied().eq(0..rows.len() as u64));
    // A dollar sign begins one of its own variables, or one of Grafana's.
    let all = dashboard.to_string();
    for after in all.split('$').skip(1) {
        let name = after.trim_start_matches('{').split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next();
        let name = name.expect("there is always one");
        assert!(variables.contains(&name) || ["__rate_interval", "__all"].contains(&name), "${name}");
    }
}
