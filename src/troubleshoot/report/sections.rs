//! The parts of the page that show the server at work.
#![forbid(unsafe_code)]

use super::chart::{Series, bars, line, meter};
use super::html::{
    bytes, count, cut, duration, escaped, figures, long, main, number, rows, table, text, words,
};
use serde_json::Value;

const MOST_TABLES: usize = 15;

/// What is drawn of the samples: metric, title, how figures read, the least end of the axis, whether it begins at zero.
type Drawn = (&'static str, &'static str, fn(f64) -> String, f64, bool);

const DRAWN: [Drawn; 7] = [
    ("commits_total", "Commits per second", axis, 1.0, true),
    ("mean_statement_ms", "Mean time of a statement, ms", axis, 0.1, true),
    ("active_connections", "Active connections", axis, 2.0, true),
    ("connections", "Connections", axis, 5.0, true),
    ("idle_in_transaction_connections", "Idle in transaction", axis, 2.0, true),
    ("cache_hit_percent", "Cache hits, %", axis, 100.0, false),
    ("wal_bytes_total", "WAL per second", axis_bytes, 1_000.0, true),
];

/// Short, for an axis.
fn axis(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.4} M", value / 1e6).replace(".0000", ""),
        v if v >= 1e4 => format!("{:.0} k", value / 1e3),
        v if v >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub fn load(data: &Value) -> String {
    let history = rows(data, "history");
    let mut charts = String::new();
    for (metric, title, show, least_top, from_zero) in DRAWN {
        let Some(found) = history.iter().find(|series| text(series, "metric") == metric) else { continue };
        let times = rows(found, "times").iter().filter_map(Value::as_f64);
        let points: Vec<(f64, Option<f64>)> =
            times.zip(rows(found, "values").iter().map(Value::as_f64)).collect();
        if let Some(svg) = line(&Series { title, points: &points, show, least_top, from_zero }) {
            charts.push_str(&format!("<div class=\"card\"><h3>{title}</h3>{svg}</div>"));
        }
    }
    if charts.is_empty() {
        charts = "<p class=\"soft\">No samples of the last 24 hours: have a scheduler call troubleshoot.run_baseline() every few minutes.</p>".into();
    } else {
        charts = format!("<div class=\"grid\">{charts}</div>");
    }
    format!("<section><h2>Load of the last 24 hours</h2>{charts}</section>")
}

pub fn now(data: &Value) -> String {
    let pairs = |key: &str, name: fn(&Value) -> String| -> Vec<(String, f64)> {
        rows(data, key).iter().map(|row| (name(row), number(row, "count").unwrap_or(0.0))).collect()
    };
    let states = pairs("states", |row| text(row, "state").to_owned());
    let waits = pairs("waits", |row| format!("{}: {}", text(row, "kind"), text(row, "event")));
    let card = |title: &str, values: &[(String, f64)]| {
        let drawn =
            if values.is_empty() { "<p class=\"soft\">None.</p>".to_owned() } else { bars(title, values) };
        format!("<div class=\"card\"><h3>{title}</h3>{drawn}</div>")
    };
    format!(
        "<section><h2>Now</h2><div class=\"grid\">{}{}</div></section>",
        card("Connections by state", &states),
        card("What statements wait for", &waits)
    )
}

pub fn blocking(data: &Value) -> String {
    let mut html = String::from("<section><h2>Who blocks whom</h2><div class=\"card\">");
    let tree = rows(data, "blocking");
    if data.get("blocking").is_none_or(Value::is_null) {
        html.push_str("<p>Unknown: this role may not read troubleshoot.blocking_tree.</p>");
    } else if tree.is_empty() {
        html.push_str("<p>Nobody waits for another.</p>");
    } else {
        let columns = [
            main("Session"),
            words("State"),
            long("Object"),
            figures("Waits"),
            figures("Transaction"),
            long("Statement"),
        ];
        let line = |row: &Value| {
            let depth = number(row, "depth").unwrap_or(0.0).clamp(0.0, 12.0) as usize;
            let arrow = if depth > 0 { "└ " } else { "" };
            let pid = number(row, "pid").unwrap_or(0.0);
            let who = if pid == 0.0 { "prepared transaction".to_owned() } else { format!("{pid:.0}") };
            let waits = [text(row, "wait_event_type"), text(row, "lock_mode")].join(" ");
            let seconds = |key: &str| number(row, key).map(duration).unwrap_or_default();
            vec![
                format!(
                    "<span style=\"padding-left:{}px\">{arrow}<b>{who}</b> {} {}</span>",
                    depth * 16,
                    escaped(text(row, "user_name")),
                    escaped(&cut(text(row, "application_name"), 64))
                ),
                format!(
                    "{}<br><span class=\"soft\">{}</span>",
                    escaped(text(row, "state")),
                    escaped(waits.trim())
                ),
                escaped(&cut(text(row, "object"), 128)),
                seconds("waiting_seconds"),
                seconds("transaction_seconds"),
                statement(text(row, "query"), text(row, "remediation_sql")),
            ]
        };
        let lines: Vec<Vec<String>> = tree.iter().map(line).collect();
        html.push_str(&table("Who blocks whom", &columns, &lines));
    }
    html.push_str("</div></section>");
    html
}

fn statement(query: &str, remedy: &str) -> String {
    let mut html = format!("<code>{}</code>", escaped(&cut(query, 300)));
    if !remedy.is_empty() {
        html.push_str(&format!("<pre>{}</pre>", escaped(&cut(remedy, 500))));
    }
    html
}

pub fn statements(data: &Value) -> String {
    let found = rows(data, "statements");
    let body = if found.is_empty() {
        let why = if data.get("has_statements") == Some(&Value::Bool(true)) {
            "pg_stat_statements is installed, but not preloaded, not readable by this role, or empty."
        } else {
            "The extension pg_stat_statements is not installed in this database."
        };
        format!("<p>{why}</p>")
    } else {
        let columns = [
            main("Statement"),
            figures("Share of time"),
            figures("Mean"),
            figures("Calls"),
            figures("Total"),
            figures("Rows"),
        ];
        let line = |row: &Value| {
            let share = number(row, "percent").unwrap_or(0.0);
            let ms = |key: &str| number(row, key).map(|ms| duration(ms / 1_000.0)).unwrap_or_default();
            let whole = |key: &str| number(row, key).map(count).unwrap_or_default();
            vec![
                format!("<code>{}</code>", escaped(&cut(text(row, "query"), 300))),
                format!("{share:.1} %{}", meter(share)),
                ms("mean_ms"),
                whole("calls"),
                ms("total_ms"),
                whole("rows"),
            ]
        };
        table("Statements that took the most time", &columns, &found.iter().map(line).collect::<Vec<_>>())
    };
    format!("<section><h2>Statements that took the most time</h2><div class=\"card\">{body}</div></section>")
}

pub fn tables(data: &Value) -> String {
    let all = rows(data, "tables");
    let most = all.iter().filter_map(|row| number(row, "bytes")).fold(1.0, f64::max);
    let size = |row: &Value| {
        let size = number(row, "bytes").unwrap_or(0.0);
        format!("{}{}", bytes(size), meter(100.0 * size / most))
    };
    let whole = |row: &Value, key: &str| number(row, key).map(count).unwrap_or_default();
    let or_never = |row: &Value, key: &str| match text(row, key) {
        "" => "never".to_owned(),
        at => escaped(at),
    };
    let columns = [
        main("Table"),
        figures("Size"),
        figures("Rows"),
        figures("Dead"),
        figures("Seq. scans"),
        figures("Index scans"),
        words("Analyzed"),
    ];
    let line = |row: &Value| {
        vec![
            escaped(&cut(text(row, "name"), 128)),
            size(row),
            whole(row, "live_rows"),
            whole(row, "dead_rows"),
            whole(row, "sequential_scans"),
            whole(row, "index_scans"),
            or_never(row, "analyze"),
        ]
    };
    let largest: Vec<Vec<String>> = all.iter().take(MOST_TABLES).map(line).collect();
    let mut bloated: Vec<&Value> = all
        .iter()
        .filter(|row| number(row, "bloat_bytes").is_some_and(|bloat| bloat >= 1_048_576.0))
        .collect();
    bloated.sort_by(|one, other| {
        number(other, "bloat_bytes").unwrap_or(0.0).total_cmp(&number(one, "bloat_bytes").unwrap_or(0.0))
    });
    let columns_of_bloat =
        [main("Table"), figures("Bloat"), figures("Of its size"), figures("Dead rows"), words("Vacuumed")];
    let line_of_bloat = |row: &&Value| {
        let (bloat, size) =
            (number(row, "bloat_bytes").unwrap_or(0.0), number(row, "bytes").unwrap_or(1.0).max(1.0));
        let share = 100.0 * bloat / size;
        vec![
            escaped(&cut(text(row, "name"), 128)),
            bytes(bloat),
            format!("{share:.0} %{}", meter(share)),
            whole(row, "dead_rows"),
            or_never(row, "vacuum"),
        ]
    };
    let wasteful: Vec<Vec<String>> = bloated.iter().take(MOST_TABLES).map(line_of_bloat).collect();
    let none = || "<p>None of more than 1 MB.</p>".to_owned();
    format!(
        "<section><h2>Largest tables</h2><div class=\"card\">{}</div><p class=\"soft\">Sizes as of the last VACUUM or ANALYZE, with indexes and TOAST.</p></section>\
         <section><h2>Most bloated tables</h2><div class=\"card\">{}</div><p class=\"soft\">Estimated among the 100 largest, from the average width of rows.</p></section>",
        if largest.is_empty() {
            "<p>None.</p>".to_owned()
        } else {
            table("Largest tables", &columns, &largest)
        },
        if wasteful.is_empty() { none() } else { table("Most bloated tables", &columns_of_bloat, &wasteful) }
    )
}

/// In powers of ten, in which the axis is parted.
fn axis_bytes(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "GB"),
        v if v >= 1e6 => (v / 1e6, "MB"),
        v if v >= 1e3 => (v / 1e3, "kB"),
        v => (v, "B"),
    };
    format!("{} {unit}", axis(scaled))
}
