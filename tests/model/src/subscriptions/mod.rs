//! Consumers of subscriptions. That of `inbox` fetches, handles and acknowledges in one transaction; those of `letters`
//! have leases, some of which run out, and give back what they cannot handle.

mod rules;

pub use rules::SUBSCRIPTIONS;

use crate::generate::Generator;
use crate::op::Op;
use neobank_sessions::Uuid;

/// Both subscriptions, and what their consumers do in tables of an application's.
pub const SETUP: &str = r#"
select event_store.create_subscription('inbox', partitions => 3, backoff_first_ms => 0, filter =>
    '{"event_types": ["FundsDeposited", "FundsWithdrawn", "DepositPosted", "TransferPosted"]}');
create table public.handled (seq bigint generated always as identity, event_id uuid primary key, aggregate_id uuid not null,
                             event_version int not null, global_position bigint not null);
create function public.handle(batch int, consumer text) returns int language plpgsql as $$
declare
    event record;
    token bigint;
    events int := 0;
begin
    for event in select * from event_store.fetch('inbox', batch, consumer) loop
        if exists (select from public.handled h where h.event_id = event.event_id) then
            raise exception 'handed out again: %', event using errcode = 'XX001';
        end if;
        insert into public.handled (event_id, aggregate_id, event_version, global_position)
        values (event.event_id, event.aggregate_id, event.event_version, event.global_position);
        token := event.lease_token;
        events := events + 1;
    end loop;
    if token is not null and event_store.ack('inbox', token) <> events then
        raise exception 'not all of it is acknowledged' using errcode = 'XX001';
    end if;
    return events;
end $$;
select event_store.create_subscription('letters', '{"aggregate_types": ["Account"]}', partitions => 4, max_attempts => 3,
                                       backoff_first_ms => 0, backoff_most_ms => 0, lease_ms => 1500);
create table public.told (seq bigint generated always as identity, event_id uuid primary key, token bigint not null,
                          aggregate_id uuid not null, event_version int not null, global_position bigint not null);
create table public.discarded (event_id uuid primary key);
create function public.tell(token bigint, ids uuid[]) returns int language plpgsql as $$
declare
    events int := event_store.ack('letters', token, ids);
begin
    -- Its lease is locked: what was acknowledged of it before is seen.
    if exists (select from event_store.subscription_leases l cross join unnest(l.acked_positions) p
               join event_store.events e on e.global_position = p
               join public.told t on t.event_id = e.event_id and t.token <> tell.token
               where l.subscription = 'letters' and l.lease_token = tell.token) then
        raise exception 'acknowledged again: %', tell.token using errcode = 'XX001';
    end if;
    insert into public.told (event_id, token, aggregate_id, event_version, global_position)
    select e.event_id, tell.token, e.aggregate_id, e.event_version, e.global_position
    from event_store.subscription_leases l cross join unnest(l.acked_positions) p
    join event_store.events e on e.global_position = p
    where l.subscription = 'letters' and l.lease_token = tell.token
      and not exists (select from public.told t where t.event_id = e.event_id) order by p;
    return events;
end $$;
create function public.discard(ids uuid[]) returns int language plpgsql as $$
declare
    events int := event_store.discard_parked('letters', ids);
begin
    -- None, if the subscription was reset at this moment.
    insert into public.discarded select unnest(ids) where events > 0 on conflict do nothing;
    return events;
end $$;
-- Which leases a fetch finds run out nobody is told.
create function public.note_taken() returns trigger language plpgsql as $$
begin
    perform set_config('model.taken', current_setting('model.taken', true) || ' ' || old.lease_token, true);
    return null;
end $$;
create trigger note_taken after delete on event_store.subscription_leases
for each row when (old.subscription = 'letters' and not old.done) execute function public.note_taken();
create function public.fetch_letters(batch int, consumer text)
returns table (lease_token bigint, attempt int, leased_until bigint, aggregate_id uuid, event_version int, event_id uuid,
               aggregate_type text, event_type text, event_data jsonb, metadata jsonb, tags json) language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('model.taken', '', true);
    return query select lease_token, attempt, (extract(epoch from leased_until) * 1000000)::bigint, aggregate_id,
                        event_version, event_id, aggregate_type, event_type, event_data, metadata, to_json(tags)
                 from event_store.fetch('letters', batch, consumer);
    return query select token::bigint, 0, null::bigint, null::uuid, null::int, null::uuid, null, null, null::jsonb,
                        null::jsonb, null::json
                 from unnest(string_to_array(ltrim(current_setting('model.taken')), ' ')) token;
end $$;
create function public.begin_anew() returns void language plpgsql as $$
begin
    perform event_store.reset_subscription('letters', 'beginning');
    delete from public.told;
    delete from public.discarded;
end $$
"#;

/// `max_attempts` of letters.
pub const MAX_ATTEMPTS: i32 = 3;

/// What a fetch has handed out: each event with its stream and version.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    pub token: i64,
    pub events: Vec<(Uuid, Uuid, i32)>,
}

/// What a line of a fetch tells.
pub enum Told<'a> {
    /// A lease that has run out, by its token.
    TakenAway(i64),
    Event(Line<'a>),
}

pub struct Line<'a> {
    pub token: i64,
    pub attempt: i32,
    /// In microseconds.
    pub until: i64,
    pub aggregate: Uuid,
    pub version: i32,
    pub event: Uuid,
    /// As `events::read_stream` has it.
    pub content: &'a str,
}

impl<'a> Told<'a> {
    pub fn read(line: &'a str) -> Told<'a> {
        match line.split('|').collect::<Vec<_>>()[..2] {
            [token, "0"] => Told::TakenAway(token.parse().expect("a number")),
            _ => Told::Event(Line::read(line)),
        }
    }
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Line<'a> {
        let mut columns = line.splitn(5, '|');
        let mut next = || columns.next().expect("five columns");
        let (token, attempt, until, aggregate, content) = (next(), next(), next(), next(), next());
        let mut columns = content.splitn(3, '|');
        let mut next = || columns.next().expect("three columns");
        let (version, event) = (next(), next());
        let number = |text: &str| text.parse::<i64>().expect("a number");
        Line {
            token: number(token),
            attempt: number(attempt) as i32,
            until: number(until),
            aggregate: aggregate.parse().expect("an id"),
            version: number(version) as i32,
            event: event.parse().expect("an id"),
            content,
        }
    }
}

impl Handed {
    /// What the lines of a fetch tell: what it hands out, if anything, and the leases that it took away.
    pub fn read(lines: &[String]) -> (Option<Handed>, Vec<i64>) {
        let (mut handed, mut taken) = (None, Vec::new());
        for line in lines {
            match Told::read(line) {
                Told::TakenAway(token) => taken.push(token),
                Told::Event(line) => {
                    let handed = handed.get_or_insert_with(|| Handed { token: line.token, events: Vec::new() });
                    handed.events.push((line.event, line.aggregate, line.version));
                }
            }
        }
        (handed, taken)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Consuming {
    /// Of inbox: fetched, handled and acknowledged at once.
    Handle {
        batch: usize,
        consumer: usize,
    },
    Fetch {
        batch: usize,
        consumer: usize,
    },
    /// None: all that is open.
    Ack {
        token: i64,
        events: Option<Vec<Uuid>>,
    },
    Fail {
        token: i64,
        event: Uuid,
        park: bool,
    },
    Extend {
        token: i64,
    },
    Replay {
        event: Uuid,
    },
    Discard {
        event: Uuid,
    },
    Reset,
}

fn ids(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    format!("array[{}]::uuid[]", ids.join(", "))
}

impl Consuming {
    pub fn name(&self) -> &'static str {
        match self {
            Consuming::Handle { .. } => "handling",
            Consuming::Fetch { .. } => "fetch",
            Consuming::Ack { .. } => "acknowledgement",
            Consuming::Fail { .. } => "failure",
            Consuming::Extend { .. } => "longer lease",
            Consuming::Replay { .. } => "replay",
            Consuming::Discard { .. } => "discard",
            Consuming::Reset => "reset",
        }
    }

    pub fn sql(&self) -> String {
        match self {
            Consuming::Handle { batch, consumer } => format!("select public.handle({batch}, 'c{consumer}')"),
            Consuming::Fetch { batch, consumer } => {
                format!("select * from public.fetch_letters({batch}, 'c{consumer}')")
            }
            Consuming::Ack { token, events } => {
                let events = events.as_deref().map_or("null".to_owned(), ids);
                format!("select public.tell({token}, {events})")
            }
            Consuming::Fail { token, event, park } => {
                format!("select event_store.nack('letters', {token}, '{event}', 'it will not', park => {park})")
            }
            Consuming::Extend { token } => format!(
                "select (extract(epoch from event_store.extend_lease('letters', {token}, 3000)) * 1000000)::bigint"
            ),
            Consuming::Replay { event } => format!("select event_store.replay_parked('letters', {})", ids(&[*event])),
            Consuming::Discard { event } => format!("select public.discard({})", ids(&[*event])),
            Consuming::Reset => "select public.begin_anew() is null".to_owned(),
        }
    }
}

impl Generator<'_> {
    pub(crate) fn fetch(&mut self) -> Op {
        let (batch, consumer) = (1 + self.dice.below(12), self.dice.below(3));
        Op::Consume(match self.dice.below(5) {
            0 | 1 => Consuming::Handle { batch: 4 * batch, consumer },
            _ => Consuming::Fetch { batch, consumer },
        })
    }

    /// The latest lease mostly; at times one that has been settled or lost.
    fn lease(&mut self) -> Handed {
        let pool = self.pool;
        if pool.leases.is_empty() || self.one_in(40) {
            return Handed { token: 1 << 40, events: vec![(crate::generate::UNKNOWN, crate::generate::UNKNOWN, 1)] };
        }
        let latest = pool.leases.iter().max_by_key(|lease| lease.token).expect("there is one");
        if self.one_in(3) { self.pick(pool.leases.as_slice()) } else { latest.clone() }
    }

    fn event_of(&mut self, lease: &Handed) -> Uuid {
        let pool = self.pool;
        match self.dice.below(20) {
            0 if !pool.leases.is_empty() => {
                let other = self.pick(pool.leases.as_slice());
                self.pick(&other.events).0
            }
            _ => self.pick(&lease.events).0,
        }
    }

    fn parked(&mut self) -> Uuid {
        let pool = self.pool;
        self.known(pool.parked.as_slice())
    }

    pub(crate) fn consume(&mut self) -> Op {
        let lease = self.lease();
        let token = lease.token;
        Op::Consume(match self.dice.below(40) {
            0..11 => Consuming::Ack { token, events: None },
            // The first ones, so mostly in the order of their streams.
            11..16 => {
                let some = 1 + self.dice.below(lease.events.len());
                Consuming::Ack { token, events: Some(lease.events[..some].iter().map(|event| event.0).collect()) }
            }
            16..18 => Consuming::Ack { token, events: Some(vec![self.event_of(&lease)]) },
            18..28 => {
                let park = self.one_in(2);
                Consuming::Fail { token, event: self.event_of(&lease), park }
            }
            28..30 => Consuming::Extend { token },
            30..35 => Consuming::Replay { event: self.parked() },
            35..39 => Consuming::Discard { event: self.parked() },
            _ if self.one_in(4) => Consuming::Reset,
            _ => Consuming::Fetch { batch: 20, consumer: 0 },
        })
    }
}
