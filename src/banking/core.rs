//! Account numbers and status rules: no server, no clock, no randomness.
#![forbid(unsafe_code)]

/// Digits of a generated number, check digits included.
const GENERATED_DIGITS: usize = 14;

fn remainder_97(digits: impl Iterator<Item = u8>) -> u32 {
    digits.fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97)
}

/// The account number of a serial: twelve digits and two check digits (ISO 7064, MOD 97-10).
pub fn account_number(serial: i64) -> String {
    let body = format!("{serial:012}");
    let check = 98 - remainder_97(body.bytes().chain(*b"00"));
    format!("{body}{check:02}")
}

/// Whether the check digits of a generated number hold.
pub fn account_number_is_valid(number: &str) -> bool {
    number.len() >= GENERATED_DIGITS
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && remainder_97(number.bytes()) == 1
}

/// Whether an operator may set `to` on an account that is `from`; closing has a function of its own.
pub fn status_may_change(from: &str, to: &str) -> bool {
    let open = |status: &str| matches!(status, "active" | "dormant" | "frozen");
    open(from) && open(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_check_and_a_slip_of_one_digit_shows(serial in 1i64..999_999_999_999, place in 0usize..14, other in 1u8..10) {
            let number = account_number(serial);
            prop_assert!(account_number_is_valid(&number));
            let mut slipped = number.into_bytes();
            slipped[place] = b'0' + (slipped[place] - b'0' + other) % 10;
            prop_assert!(!account_number_is_valid(std::str::from_utf8(&slipped).expect("digits")));
        }
    }

    #[test]
    fn closed_is_final() {
        for to in ["active", "dormant", "frozen", "closed"] {
            assert!(!status_may_change("closed", to));
        }
        assert!(status_may_change("frozen", "active"));
        assert!(!status_may_change("active", "closed"));
        assert!(!status_may_change("active", "sleeping"));
    }
}
