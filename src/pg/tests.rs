//! The numeric codec against the server's own conversions.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;
    use crate::pg::numeric::{Numeric, Unrepresentable};
    use pgrx::AnyNumeric;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use rust_decimal::Decimal;
    use std::str::FromStr;

    fn decoded(text: &str) -> Result<Decimal, Unrepresentable> {
        let numeric = AnyNumeric::try_from(text).expect("a numeric's text");
        let datum = pgrx::IntoDatum::into_datum(numeric).expect("not null");
        let read: Option<Numeric> = read(datum);
        read.expect("not null").0
    }

    fn encoded(value: Decimal) -> String {
        let datum = pgrx::IntoDatum::into_datum(Numeric::from(value)).expect("not null");
        let read: Option<AnyNumeric> = read(datum);
        read.expect("not null").to_string()
    }

    fn read<T: pgrx::FromDatum>(datum: pgrx::pg_sys::Datum) -> Option<T> {
        // SAFETY: every caller made the datum a numeric.
        unsafe { T::from_datum(datum, false) }
    }

    #[pg_test]
    fn the_server_and_the_codec_agree() {
        let figures = (any::<i128>(), 0u32..=28, 0u32..96);
        TestRunner::new(Config::with_cases(2_000))
            .run(&figures, |(mantissa, scale, bits)| {
                let mantissa = mantissa % (1i128 << bits);
                let value = Decimal::from_i128_with_scale(mantissa, scale);
                prop_assert_eq!(encoded(value), value.to_string());
                let back = decoded(&value.to_string()).expect("28 digits fit");
                prop_assert_eq!(back, value);
                prop_assert_eq!(back.scale(), value.scale());
                Ok(())
            })
            .expect("no figure differs");
    }

    #[pg_test]
    fn edges_of_numeric_are_read_or_named() {
        for (text, wanted) in [
            ("0", "0"),
            ("0.00", "0.00"),
            ("-0.0001", "-0.0001"),
            ("1000000000000000000", "1000000000000000000"),
            ("0.1000000000000000000000000000", "0.1000000000000000000000000000"),
            ("1e20", "100000000000000000000"),
            ("10000", "10000"),
        ] {
            let value = decoded(text).expect("it fits");
            assert_eq!(value.to_string(), wanted);
            assert_eq!(value, Decimal::from_str(wanted).expect("a decimal"));
        }
        assert_eq!(decoded("NaN"), Err(Unrepresentable::NotANumber));
        assert_eq!(decoded("Infinity"), Err(Unrepresentable::Infinite));
        assert_eq!(decoded("-Infinity"), Err(Unrepresentable::Infinite));
        assert_eq!(decoded("1e40"), Err(Unrepresentable::TooManyDigits));
        assert_eq!(decoded(&"9".repeat(200)), Err(Unrepresentable::TooManyDigits));
        // Trailing zeros past 28 places are no digits of the value.
        assert_eq!(decoded(&format!("1.5{}", "0".repeat(60))), Ok(Decimal::new(15, 1)));
    }
}
