//! A bank with an attacker in it, and a payload that tells with whose rights it ran.

use neobank_sessions::*;

pub struct World {
    pub bank: Bank,
    pub a: Uuid,
    pub b: Uuid,
    /// The attacker's role, and a session of it.
    pub attacker: String,
    pub session: Client,
}

impl World {
    /// An attacker of the level, who may make objects in the database and in schema public. Accounts a and b hold 1000
    /// and 500, and there is a row in most tables.
    pub fn new(level: &str) -> World {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("1000"), bank.account("500"));
        let attacker = bank.role(level);
        let name = &bank.name;
        bank.db.run(&format!(
            "grant create, temporary on database {name} to {attacker}; grant create, usage on schema public to {attacker}; \
             select txn_processing.transfer('{a}', '{b}', 10, effective_at => now() - interval '1 day'); \
             select txn_processing.place_hold('{a}', 5); \
             select banking.set_overdraft_limit('{b}', 7, 'good customer'); \
             select txn_processing.enqueue('transfer', '{a}', '{b}', 1)"
        ));
        if level != "stranger" {
            bank.db.run(&format!("select neobank.grant_usage('{attacker}', '{level}')"));
        }
        let session = bank.session_as(&attacker);
        World { bank, a, b, attacker, session }
    }

    /// Schema `evil`, everybody's to use, with `evil.spy(what)`: true, and a count that no rollback takes back, kept apart
    /// for the attacker and for everybody else.
    pub fn with_payload(mut self) -> World {
        let attacker = &self.attacker;
        self.session.run(&format!(
            "create schema evil; grant usage on schema evil to public; \
             create sequence evil.as_attacker; create sequence evil.as_another; \
             grant usage on sequence evil.as_attacker, evil.as_another to public; \
             create function evil.spy(what text default '') returns boolean language plpgsql immutable set search_path = pg_catalog as \
             $$ begin perform nextval(case current_user when '{attacker}' then 'evil.as_attacker' \
                else 'evil.as_another' end); return true; end $$; \
             create function evil.trigger() returns trigger language plpgsql set search_path = pg_catalog as \
             $$ begin perform evil.spy(tg_op); return coalesce(new, old); end $$"
        ));
        self
    }

    fn count(&mut self, sequence: &str) -> i64 {
        self.bank.db.count(&format!("select case when is_called then last_value else 0 end from evil.{sequence}"))
    }

    /// How often the payload ran with the attacker's own rights.
    pub fn ran(&mut self) -> i64 {
        self.count("as_attacker")
    }

    /// How often with another's.
    pub fn escaped(&mut self) -> i64 {
        self.count("as_another")
    }

    /// The payload does tell where it is run by another: the superuser runs it.
    pub fn assert_the_payload_tells(&mut self) {
        let before = self.escaped();
        self.bank.db.run("select evil.spy()");
        assert!(self.escaped() > before, "a payload that ran elsewhere would not be seen");
    }
}

/// Who owns what and may do what with it, in the extension's schemas, and what hangs on its tables.
pub fn objects(admin: &mut Client) -> Vec<String> {
    admin.lines(
        "with ours as (select oid from pg_namespace where nspname in ('neobank', 'banking', 'txn_processing')) \
         select 'table', c.oid::text, relname::text, relowner::text, relacl::text, relhasrules::text, relrowsecurity::text, \
                relfilenode::text, relkind::text, relreplident::text, reloptions::text from pg_class c \
         where relnamespace in (select oid from ours) \
         union all select 'function', oid::text, proname, proowner::text, proacl::text, prosecdef::text, \
                md5(prosrc), proconfig::text, null, null, null from pg_proc where pronamespace in (select oid from ours) \
         union all select 'trigger', t.oid::text, tgname, tgrelid::text, tgenabled::text, tgfoid::text, null, null, \
                null, null, null from pg_trigger t join pg_class c on c.oid = tgrelid \
                where relnamespace in (select oid from ours) \
         union all select 'column', attrelid::text, attname, atttypid::text, attacl::text, atthasdef::text, \
                attnotnull::text, null, null, null, null from pg_attribute join pg_class c on c.oid = attrelid \
                where relnamespace in (select oid from ours) and attnum > 0 \
         union all select 'schema', oid::text, nspname, nspowner::text, nspacl::text, null, null, null, null, null, null \
                from pg_namespace where oid in (select oid from ours) \
         union all select 'policy', oid::text, polname, polrelid::text, null, null, null, null, null, null, null \
                from pg_policy \
         union all select 'member', classid::text, objid::text, null, null, null, null, null, null, null, null \
                from pg_depend where deptype = 'e' \
         order by 1, 2, 3",
    )
}
