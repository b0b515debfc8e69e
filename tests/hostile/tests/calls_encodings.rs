//! Text in other encodings than UTF-8: databases in them are refused, clients in them are served.

use neobank_sessions::*;
use std::fs;
use std::process::Command;

/// A database beside the test's own, dropped with it.
struct Beside<'b> {
    bank: &'b mut Bank,
    name: String,
}

impl Beside<'_> {
    fn in_encoding<'b>(bank: &'b mut Bank, encoding: &str) -> Beside<'b> {
        let name = format!("{}_{}", bank.name, encoding.to_lowercase());
        bank.db.run(&format!("create database {name} template template0 encoding '{encoding}' locale 'C'"));
        Beside { bank, name }
    }

    fn connect(&self) -> Client {
        server().connect(&self.name, &server().superuser).expect("the new database lets us in")
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if let Err(refusal) = self.bank.db.try_lines(&format!("drop database {} with (force)", self.name)) {
            say(&format!("cleaning up: {refusal}"));
        }
    }
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let mut bank = Bank::empty_database();
    for encoding in ["SQL_ASCII", "LATIN1", "EUC_JP", "KOI8R"] {
        let beside = Beside::in_encoding(&mut bank, encoding);
        let mut db = beside.connect();
        let refusal = db.fails("create extension neobank");
        assert_eq!(refusal.code, "0A000", "{encoding}: {refusal}");
        assert!(refusal.detail.contains(encoding) && refusal.hint.contains("UTF8"), "{refusal}");
        let left = "select nspname from pg_namespace where nspname in ('banking', 'txn_processing', 'neobank')";
        assert_eq!(db.lines(left), [""; 0], "{encoding}");
    }
}

struct Page {
    encoding: &'static str,
    text: &'static str,
    /// The text in the encoding. Some have a byte in it that is a quote or a backslash of ASCII's.
    bytes: &'static [u8],
}

const PAGES: &[Page] = &[
    Page { encoding: "LATIN1", text: "Müller & fils é", bytes: b"M\xfcller & fils \xe9" },
    Page { encoding: "WIN1252", text: "€ “quoted” ÿ", bytes: b"\x80 \x93quoted\x94 \xff" },
    Page { encoding: "KOI8R", text: "Привет", bytes: b"\xf0\xd2\xc9\xd7\xc5\xd4" },
    Page { encoding: "EUC_JP", text: "日本語ソ", bytes: b"\xc6\xfc\xcb\xdc\xb8\xec\xa5\xbd" },
    Page { encoding: "SJIS", text: "ソ表十", bytes: b"\x83\x5c\x95\x5c\x8f\x5c" },
    Page { encoding: "BIG5", text: "功許", bytes: b"\xa5\x5c\xb3\x5c" },
    Page { encoding: "GB18030", text: "中文€", bytes: b"\xd6\xd0\xce\xc4\xa2\xe3" },
    Page { encoding: "UHC", text: "한글", bytes: b"\xc7\xd1\xb1\xdb" },
];

/// Runs a file of those bytes in psql as a client of that encoding; what it printed, errors and all, as bytes.
fn as_client(bank: &Bank, scratch: &Scratch, encoding: &str, script: &[u8]) -> Option<Vec<u8>> {
    let file = scratch.file(&format!("{encoding}.sql"));
    fs::write(&file, script).expect("a file in a folder of ours");
    let mut command: Command = server().tool(&psql()?, &bank.name);
    command.args(["-X", "-At", "-q"]).arg("-f").arg(&file).env("PGCLIENTENCODING", encoding).env("LC_ALL", "C");
    let output = command.output().expect("psql starts");
    Some([output.stdout, output.stderr].concat())
}

fn contains(heap: &[u8], needle: &[u8]) -> bool {
    heap.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn clients_in_other_encodings_write_and_read_what_they_mean() {
    let mut bank = Bank::new();
    let scratch = Scratch::new(&format!("{}_encodings", bank.name));
    let account = bank.account("1000");
    for page in PAGES {
        let mut script = format!("select txn_processing.deposit('{account}', 1, description => '").into_bytes();
        script.extend(page.bytes);
        script.extend(b"', metadata => '{\"note\": \"");
        // A backslash in JSON is an escape, whatever character it is a byte of to the client.
        script.extend(page.bytes);
        script.extend(b"\"}') as id \\gset\nselect description, metadata from txn_processing.transaction(:'id');\n");
        // A text that the encoding has none of, and one in an error.
        script.extend(b"select txn_processing.withdraw(gen_random_uuid(), 1, description => U&'\\+01F4B0');\n");
        script.extend(format!("select banking.set_balance_mode('{account}', '").as_bytes());
        script.extend(page.bytes);
        script.extend(b"');\nselect 'still ' || 'here';\n");
        let Some(printed) = as_client(&bank, &scratch, page.encoding, &script) else {
            return skipped("clients in other encodings", "there is no psql");
        };
        let shown = String::from_utf8_lossy(&printed).into_owned();
        assert!(contains(&printed, page.bytes), "{}: {shown}", page.encoding);
        for wanted in ["account not found", "argument \"mode\" is out of bounds", "still here"] {
            assert!(shown.contains(wanted), "{}: {wanted:?} is not in {shown}", page.encoding);
        }
        let stored = format!(
            "select count(*) from txn_processing.movements \
             where description = '{0}' and metadata = '{{\"note\": \"{0}\"}}'",
            page.text
        );
        assert_eq!(bank.db.count(&stored), 1, "{}: {shown}", page.encoding);
    }
    audit(&mut bank.db);
}

#[test]
fn a_text_that_the_clients_encoding_lacks_is_the_servers_error() {
    let mut bank = Bank::new();
    let account = bank.account("1000");
    let paid = bank.db.id(&format!("select txn_processing.withdraw('{account}', 1, description => '日本 \u{1f4b0}')"));
    for encoding in ["LATIN1", "KOI8R", "EUC_JP"] {
        bank.db.run(&format!("set client_encoding = '{encoding}'"));
        let refusal = bank.db.fails(&format!("select description from txn_processing.transaction('{paid}')"));
        assert_eq!(refusal.code, "22P05", "{encoding}: {refusal}");
        // The same in the text of an error, which the server cannot send then.
        let _ = bank.db.fails(&format!("select banking.set_balance_mode('{account}', U&'\\65E5\\+01F4B0')"));
        let _ = bank.db.fails("select txn_processing.fx_rate_at('USD', U&'\\+01F4B0')");
        bank.db.run("set client_encoding = 'UTF8'");
        assert_eq!(bank.db.balance(account), dec("999"));
    }
    let broken = "select txn_processing.withdraw(gen_random_uuid(), 1, description => convert_from('\\xff', 'UTF8'))";
    assert_eq!(bank.db.fails(broken).code, "22021");
    audit(&mut bank.db);
}
