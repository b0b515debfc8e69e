//! Days of UTC, counted from 2000-01-01 as the server counts them, and what the calendar calls them.
#![forbid(unsafe_code)]

pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The day of an instant in microseconds since 2000-01-01 UTC.
pub fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).expect("64 bits of microseconds are 28 bits of days")
}

/// Year, month and day of a date. H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
pub fn civil(date: i32) -> (i64, i64, i64) {
    const DAYS_FROM_0000_03_01_TO_2000_01_01: i64 = 730_425;
    let day = i64::from(date) + DAYS_FROM_0000_03_01_TO_2000_01_01;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_month)
}

/// A date as ISO 8601 writes it.
pub fn iso(date: i32) -> String {
    let (year, month, day) = civil(date);
    format!("{year:04}-{month:02}-{day:02}")
}
