//! What is true of tables with a history at every moment.

use crate::auditor::Rule;

/// The facts of one table, each with its periods: of the newest rows, of those that ended, of what was believed before
/// these ended, and of what is no longer believed.
macro_rules! facts_of {
    ($table:literal, $first:literal, $second:literal) => {
        concat!(
            "select '",
            $table,
            "' as name, ",
            $first,
            " as k, ",
            $second,
            " as l, amount, link, history_valid_from as vf,
                    'infinity'::timestamptz as vt, history_known_from as kf, 'infinity'::timestamptz as kt,
                    'current' || ctid as place, true as live from public_history.",
            $table,
            "_current
             union all
             select '",
            $table,
            "', ",
            $first,
            ", ",
            $second,
            ", amount, link, history_valid_from, history_valid_to,
                    history_known_from, 'infinity', 'past' || ctid, history_ended_live from public_history.",
            $table,
            "_past
             union all
             select '",
            $table,
            "', ",
            $first,
            ", ",
            $second,
            ", amount, link, history_valid_to, 'infinity',
                    history_known_from, history_valid_to, 'before' || ctid, true
             from public_history.",
            $table,
            "_past where history_ended_live
             union all
             select '",
            $table,
            "', ",
            $first,
            ", ",
            $second,
            ", amount, link, history_valid_from, history_valid_to,
                    history_known_from, history_known_to, 'superseded' || ctid, true from public_history.",
            $table,
            "_superseded
             union all
             select '",
            $table,
            "', ",
            $first,
            ", ",
            $second,
            ", amount, link, history_valid_to, 'infinity',
                    history_known_from, least(history_valid_to, history_known_to), 'superseded before' || ctid, true
             from public_history.",
            $table,
            "_superseded where history_ended_live"
        )
    };
}

macro_rules! with_facts {
    ($query:literal) => {
        concat!(
            "with facts as (",
            facts_of!("tariffs", "tariff", "0"),
            " union all ",
            facts_of!("offers", "customer", "kind"),
            " union all ",
            facts_of!("limits", "account", "kind"),
            "), present as (
                select 'tariffs' as name, tariff as k, 0 as l, amount, link from public.tariffs
                union all select 'offers', customer, kind, amount, link from public.offers
                union all select 'limits', account, kind, amount, link from public.limits)",
            $query
        )
    };
}

pub const TABLES: &[Rule] = &[
    (
        "no two facts of one key overlap on both axes",
        with_facts!(
            "select a.name, a.k, a.l, a.vf, b.vf from facts a join facts b using (name, k, l)
             where a.place < b.place and a.vf < b.vt and b.vf < a.vt and a.kf < b.kt and b.kf < a.kt"
        ),
    ),
    (
        "no fact is true for a time that is empty or inverted",
        with_facts!("select name, k, l, vf, vt from facts where vf >= vt"),
    ),
    (
        "no fact is known from when it is known no more, or later",
        with_facts!("select name, k, l, kf, kt from facts where kf >= kt"),
    ),
    (
        "nothing is known from an instant yet to come",
        with_facts!(
            "select name, k, l, kf from facts
             where kf > clock_timestamp() or kt > clock_timestamp() and kt < 'infinity'"
        ),
    ),
    (
        "the table is what its history believes of the present, unless a fact has come due",
        with_facts!(
            "select coalesce(p.name, f.name), coalesce(p.k, f.k), coalesce(p.l, f.l) from present p
             full join (select * from facts where vf <= clock_timestamp() and clock_timestamp() < vt and kt = 'infinity') f
               using (name, k, l)
             where (p.amount, p.link) is distinct from (f.amount, f.link) 
               -- It was recorded ahead of its time: so it began, or the one before it ended.
               and (f.vf > f.kf) is not true and not (f.vf is null and exists (
                 select from facts d
                 where d.name = p.name and d.k = p.k and d.l = p.l and d.kt = 'infinity' and not d.live
                   and d.vt > d.kf and d.vt <= clock_timestamp()))"
        ),
    ),
    (
        "as long as a child is believed to be true its parent is, from when their histories are kept on",
        with_facts!(
            "select c.k, c.l, c.vf, c.vt from facts c
             cross join (select max(pruned_before) as pruned_before from temporal.tables
                         where table_name in ('public.tariffs'::regclass, 'public.offers'::regclass)) t
             where c.name = 'offers' and c.kt = 'infinity' and c.link is not null
               and c.vt > coalesce(t.pruned_before, '-infinity') and (
                 select range_agg(tstzrange(p.vf, p.vt)) from facts p
                 where p.name = 'tariffs' and p.kt = 'infinity' and p.k = c.link)
               @> tstzrange(greatest(c.vf, t.pruned_before), c.vt) is not true"
        ),
    ),
];
