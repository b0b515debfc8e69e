//! Reads what is shown.

use super::exposition::Figure;
use crate::error::Error;
use crate::pg::spi::PRESENT;
use crate::pg::{Row, Session, Statement};
use serde_json::Value;

static DATA: Statement = Statement::new(c"select troubleshoot.report_data()", &[]);

static FIGURES: Statement = Statement::new(
    c"select m.metric, m.kind operator(pg_catalog.=) 'counter', m.labels, m.value::pg_catalog.text, m.help \
        from (select * from troubleshoot.measurements() \
              union all select * from troubleshoot.labelled_measurements()) m",
    &[],
);

pub fn data(session: &Session) -> Result<Value, Error> {
    let json =
        session.one(&DATA, &[], |row| row.json(1).expect(PRESENT).to_text())?.expect("a row is answered");
    Ok(serde_json::from_str(&json).expect("the server's JSON is JSON"))
}

/// A label's value: text as it is, all else as JSON writes it.
fn labels(json: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(labels)) = serde_json::from_str(json) else { return Vec::new() };
    let plain = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    labels.into_iter().map(|(name, value)| (name, plain(value))).collect()
}

pub fn figures(session: &Session) -> Result<Vec<Figure>, Error> {
    let read = |row: Row| Figure {
        metric: row.text(1).expect(PRESENT),
        is_counter: row.bool(2) == Some(true),
        labels: labels(&row.json(3).expect(PRESENT).to_text()),
        value: row.text(4).expect(PRESENT),
        help: row.text(5).expect(PRESENT),
    };
    Ok(session.run(&FIGURES, &[])?.iter().map(read).collect())
}
