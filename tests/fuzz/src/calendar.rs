//! Days and what the calendar calls them, counted from the other direction.

use crate::input::Input;
use crate::txn_processing::calendar::{MICROS_PER_DAY, civil, day_of, iso};
use crate::txn_processing::interest::core::DayCount;
use crate::txn_processing::limits::starts;
use crate::txn_processing::settlement::{check_day, cut_off};
use crate::well_worded;

const DAYS_TO_2000: i64 = 730_119;

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 2000-01-01 to a date, by counting whole years and months.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let years = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = (1..month).map(|month| month_length(year, month)).sum();
    years + months + day - 1 - DAYS_TO_2000
}

pub fn calendar(data: &[u8]) {
    let mut input = Input::new(data);
    let (date, at) = (input.i32(), input.i64());
    let (year, month, day) = civil(date);
    assert!((1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day), "{date}");
    assert_eq!(days_of(year, month, day), i64::from(date));
    let mut parts = [0; 3];
    for (part, text) in parts.iter_mut().rev().zip(iso(date).rsplitn(3, '-')) {
        *part = text.parse().expect("digits");
    }
    assert_eq!(parts, [year, month, day]);
    day_count(date);

    let of_instant = day_of(at);
    assert_eq!(i128::from(of_instant), i128::from(at).div_euclid(i128::from(MICROS_PER_DAY)));
    // The server's times end 294,277 years after the era's beginning, and are finite where they come from its clock.
    if (-200_000_000_000_000_000..=9_000_000_000_000_000_000).contains(&at) {
        let [day_start, month_start] = starts(at);
        assert!(day_start <= at && at < day_start + MICROS_PER_DAY && month_start <= day_start, "{at}");
        let (year, month, day) = civil(day_of(month_start));
        let (this_year, this_month, _) = civil(of_instant);
        assert_eq!((year, month, day), (this_year, this_month, 1));
    }
    // Today is the server's clock, which ends with its times.
    settlement(date, input.i32() % 100_000_000);
}

/// A year of 30/360 has 360 days, from whichever day it is counted, and the other counts take each day once.
fn day_count(date: i32) {
    let in_bounds = (-1_000_000..=1_000_000).contains(&date);
    if !in_bounds {
        return;
    }
    assert_eq!(DayCount::Act365.days(date) + DayCount::Act360.days(date), 2);
    let (year, month, day) = civil(date);
    let next = days_of(year + 1, month, day.min(28));
    let from = days_of(year, month, day.min(28));
    let counted: i128 = (from..next).map(|date| DayCount::Thirty360.days(date as i32)).sum();
    assert_eq!(counted, 360, "from {date}");
}

fn settlement(day: i32, today: i32) {
    match check_day(day, today, None) {
        Err(error) => well_worded(&error),
        Ok(()) => assert_eq!(day_of(cut_off(day) - 1), day),
    }
}
