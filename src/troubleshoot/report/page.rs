//! The page, from what `troubleshoot.report_data()` answers.
#![forbid(unsafe_code)]

use super::chart::{Series, bars, line, meter};
use super::html::{
    bytes, count, cut, duration, escaped, figures, long, main, number, rows, table, text, words,
};
use super::style::CSS;
use serde_json::Value;

/// Findings that the page shows, the worst first.
const MOST_FINDINGS: usize = 200;
const MOST_TABLES: usize = 15;
const SEVERITIES: [&str; 4] = ["critical", "warning", "unknown", "info"];

/// A severity's word, which is also its class; whatever else comes is unknown.
fn severity(of: &Value) -> &'static str {
    let word = text(of, "severity");
    ["critical", "warning", "info", "ok"].into_iter().find(|known| *known == word).unwrap_or("unknown")
}

fn is_acknowledged(finding: &Value) -> bool {
    finding.get("acknowledged").is_some_and(|date| !date.is_null())
}

/// What has a finding's severity and nobody has put off.
fn open_findings<'a>(findings: &'a [Value], of: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| severity(finding) == of && !is_acknowledged(finding)).collect()
}

fn state(data: &Value) -> (&'static str, String) {
    if data.get("findings").is_none_or(Value::is_null) {
        return ("unknown", "The checks could not be read by this role".into());
    }
    let findings = rows(data, "findings");
    let open = |word| open_findings(findings, word).len();
    let some =
        |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let told: Vec<String> = [
        ("critical", "critical finding", "critical findings"),
        ("warning", "warning", "warnings"),
        ("unknown", "check could not be made", "checks could not be made"),
    ]
    .into_iter()
    .filter(|(word, ..)| open(word) > 0)
    .map(|(word, one, more)| some(open(word), one, more))
    .collect();
    let worst = ["critical", "warning", "unknown"].into_iter().find(|word| open(word) > 0);
    match worst {
        Some(word) => (word, told.join(", ")),
        None => ("ok", "Nothing is wrong that the checks know of".into()),
    }
}

fn header(data: &Value) -> String {
    let (class, words) = state(data);
    let standby = if data.get("in_recovery") == Some(&Value::Bool(true)) { "standby" } else { "primary" };
    let mut html = format!(
        "<header><h1>{}</h1><p class=\"soft\">{} · PostgreSQL {}, {standby} · running since {}</p>",
        escaped(text(data, "database")),
        escaped(text(data, "at")),
        escaped(text(data, "version")),
        escaped(text(data, "started"))
    );
    html.push_str(&format!("<p class=\"state {class}\">{}</p>", escaped(&words)));
    if data.get("sees_all") != Some(&Value::Bool(true)) {
        html.push_str(&format!(
            "<p class=\"soft\">Role {} is no member of pg_monitor: what others do is not shown.</p>",
            escaped(text(data, "role"))
        ));
    }
    html.push_str(&tiles(data));
    html.push_str("</header>");
    html
}

fn tiles(data: &Value) -> String {
    let Some(all) = data.get("figures") else { return String::new() };
    let mut tiles = Vec::new();
    let mut tile = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            tiles.push(format!("<li><b>{}</b><span>{name}</span></li>", escaped(&value)));
        }
    };
    let limit = number(data, "connections_limit").unwrap_or(0.0);
    // This one is not among those that the figure counts.
    tile(
        "connections",
        number(all, "connections").map(|now| format!("{} / {}", count(now + 1.0), count(limit))),
    );
    tile("active", number(all, "active_connections").map(count));
    tile("idle in transaction", number(all, "idle_in_transaction_connections").map(count));
    tile("waiting for a lock", number(all, "blocked_connections").map(count));
    tile("oldest transaction", number(all, "oldest_transaction_seconds").map(duration));
    tile("database", number(all, "database_size_bytes").map(bytes));
    let hits = number(all, "blocks_hit_total")
        .zip(number(all, "blocks_read_total"))
        .filter(|(hit, read)| hit + read > 0.0);
    tile(
        "cache hits",
        hits.map(|(hit, read)| format!("{:.1} %", (1_000.0 * hit / (hit + read)).floor() / 10.0)),
    );
    let age = number(all, "database_transaction_id_age");
    tile("of transaction ids used", age.map(|age| format!("{:.1} %", age / 2_147_483_648.0 * 100.0)));
    format!("<ul class=\"tiles\">{}</ul>", tiles.concat())
}

fn finding(finding: &Value) -> String {
    let class = severity(finding);
    let object = text(finding, "object");
    let mut html = format!(
        "<div class=\"finding\"><h3><span class=\"badge {class}\">{class}</span><span>{}{}</span></h3><p>{}</p>",
        escaped(&text(finding, "check_id").replace('_', " ")),
        if object.is_empty() { String::new() } else { format!(": {}", escaped(&cut(object, 200))) },
        escaped(&cut(text(finding, "detail"), 1_000))
    );
    if is_acknowledged(finding) {
        html.push_str(&format!(
            "<p class=\"soft\">Acknowledged until {}.</p>",
            escaped(text(finding, "acknowledged"))
        ));
    }
    let remedy = text(finding, "remediation_sql");
    if !remedy.is_empty() {
        html.push_str(&format!("<pre>{}</pre>", escaped(&cut(remedy, 2_000))));
    }
    html.push_str("</div>");
    html
}

fn findings(data: &Value) -> String {
    let mut html = String::from("<section><h2>Findings</h2>");
    if data.get("findings").is_none_or(Value::is_null) {
        html.push_str("<div class=\"card\"><p>Unknown: this role may not execute troubleshoot.checks().</p></div></section>");
        return html;
    }
    let all = rows(data, "findings");
    let open: Vec<&Value> = SEVERITIES.iter().flat_map(|word| open_findings(all, word)).collect();
    html.push_str("<div class=\"card\">");
    if open.is_empty() {
        html.push_str("<p>None.</p>");
    }
    html.push_str(&open.iter().take(MOST_FINDINGS).map(|one| finding(one)).collect::<String>());
    html.push_str("</div>");
    if open.len() > MOST_FINDINGS {
        html.push_str(&format!(
            "<p class=\"soft\">And {} more: SELECT * FROM troubleshoot.checks().</p>",
            open.len() - MOST_FINDINGS
        ));
    }
    let put_off: Vec<&Value> =
        all.iter().filter(|one| is_acknowledged(one) && severity(one) != "ok").take(MOST_FINDINGS).collect();
    if !put_off.is_empty() {
        let list: String = put_off.iter().map(|one| finding(one)).collect();
        html.push_str(&format!(
            "<details><summary>{} acknowledged</summary><div class=\"card\">{list}</div></details>",
            put_off.len()
        ));
    }
    let fine: Vec<String> = all
        .iter()
        .filter(|one| severity(one) == "ok")
        .take(MOST_FINDINGS)
        .map(|one| escaped(&text(one, "check_id").replace('_', " ")))
        .collect();
    if !fine.is_empty() {
        html.push_str(&format!(
            "<details><summary>{} without fault</summary><p class=\"soft\">{}</p></details>",
            fine.len(),
            fine.join(", ")
        ));
    }
    html.push_str("</section>");
    html
}

fn alerts(data: &Value) -> String {
    let alerts = rows(data, "alerts");
    if alerts.is_empty() {
        return String::new();
    }
    let columns = [main("Metric"), words("Severity"), long("What"), figures("Deviation"), words("Since")];
    let line = |alert: &Value| {
        let class = severity(alert);
        vec![
            escaped(text(alert, "metric")),
            format!("<span class=\"badge {class}\">{class}</span>"),
            escaped(text(alert, "detail")),
            number(alert, "deviation").map(|deviation| format!("{deviation:.1}")).unwrap_or_default(),
            escaped(text(alert, "raised")),
        ]
    };
    let lines: Vec<Vec<String>> = alerts.iter().map(line).collect();
    format!(
        "<section><h2>Departures from the usual</h2><div class=\"card\">{}</div></section>",
        table("Departures from the usual", &columns, &lines)
    )
}

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

fn load(data: &Value) -> String {
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

fn now(data: &Value) -> String {
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

fn blocking(data: &Value) -> String {
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

fn statements(data: &Value) -> String {
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

fn tables(data: &Value) -> String {
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

pub fn page(data: &Value) -> String {
    let database = escaped(text(data, "database"));
    // What slips through all escaping could still load nothing and run nothing.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
         <link rel=\"icon\" href=\"data:,\"><title>{database}: report of {}</title><style>{CSS}</style></head><body>\
         {}<main>{}{}{}{}{}{}{}</main><footer>Made by troubleshoot.report_html() as {}. Times are UTC.</footer></body></html>\n",
        escaped(text(data, "at")),
        header(data),
        findings(data),
        alerts(data),
        blocking(data),
        load(data),
        now(data),
        statements(data),
        tables(data),
        escaped(text(data, "role"))
    )
}
