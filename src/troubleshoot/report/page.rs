//! The page, from what `troubleshoot.report_data()` answers.
#![forbid(unsafe_code)]

use super::html::{
    bytes, count, cut, duration, escaped, figures, long, main, number, rows, table, text, words,
};
use super::sections::{blocking, load, now, statements, tables};
use super::style::CSS;
use serde_json::Value;

/// Findings that the page shows, the worst first.
const MOST_FINDINGS: usize = 200;
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
        ("unknown", "unknown", "unknown"),
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
