//! What may be captured of a hold: no server, no clock.
#![forbid(unsafe_code)]

use super::Capture;
use crate::error::Error;
use rust_decimal::Decimal;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Captured,
    Released,
    Expired,
}

impl State {
    pub fn of(name: &str) -> Option<Self> {
        [State::Open, State::Captured, State::Released, State::Expired]
            .into_iter()
            .find(|state| state.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Captured => "captured",
            State::Released => "released",
            State::Expired => "expired",
        }
    }
}

/// A hold as it is under the lock of its account.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    pub id: Uuid,
    pub amount: Decimal,
    pub captured: Decimal,
    /// `Expired` from its moment on, whether that is written or not.
    pub state: State,
    /// How far past its amount it may be captured in all, in percent of it.
    pub overcapture_percent: Decimal,
}

impl Hold {
    /// What it still sets aside.
    pub fn remaining(&self) -> Decimal {
        (self.amount - self.captured).max(Decimal::ZERO)
    }

    pub fn must_be_open(&self) -> Result<(), Error> {
        match self.state {
            State::Open => Ok(()),
            state => Err(Error::HoldNotOpen { hold: self.id, why: format!("is {}", state.name()) }),
        }
    }
}

/// What a capture takes out of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub hold: Uuid,
    pub amount: Decimal,
    /// What is no longer set aside.
    pub released: Decimal,
    pub captured: Decimal,
    pub closes: bool,
}

pub fn take(hold: &Hold, capture: Capture, amount: Option<Decimal>) -> Result<Taken, Error> {
    hold.must_be_open()?;
    let mut amount = amount.unwrap_or(hold.remaining());
    // The hold is in its currency's decimals, and so is what is kept of it; more of them the posting refuses.
    amount.rescale(amount.scale().max(hold.amount.scale()));
    if amount.is_zero() {
        let why = "has nothing left, so give an amount".to_owned();
        return Err(Error::HoldNotOpen { hold: hold.id, why });
    }
    let captured = hold.captured + amount;
    let most = hold.amount + hold.amount * hold.overcapture_percent / Decimal::ONE_HUNDRED;
    let most = most.trunc_with_scale(hold.amount.scale());
    if captured > most {
        return Err(Error::HoldExceeded { hold: hold.id, most: most - hold.captured, requested: amount });
    }
    let released = if capture.is_final { hold.remaining() } else { amount.min(hold.remaining()) };
    Ok(Taken { hold: hold.id, amount, released, captured, closes: capture.is_final })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hold(amount: i64, captured: i64, percent: i64) -> Hold {
        Hold {
            id: Uuid::nil(),
            amount: Decimal::new(amount, 2),
            captured: Decimal::new(captured, 2),
            state: State::Open,
            overcapture_percent: Decimal::from(percent),
        }
    }

    #[test]
    fn a_hold_is_captured_once_its_percentage_past_its_amount() {
        let capture = Capture { hold: Uuid::nil(), is_final: true };
        assert!(take(&hold(10_000, 0, 15), capture, Some(Decimal::new(11_500, 2))).is_ok());
        let past = take(&hold(10_000, 0, 15), capture, Some(Decimal::new(11_501, 2)));
        assert!(matches!(past, Err(Error::HoldExceeded { most, .. }) if most == Decimal::new(11_500, 2)));
        let rest = take(&hold(10_000, 9_000, 15), capture, Some(Decimal::new(2_501, 2)));
        assert!(matches!(rest, Err(Error::HoldExceeded { most, .. }) if most == Decimal::new(2_500, 2)));
    }

    #[test]
    fn figures_have_the_decimals_of_the_hold() {
        let capture = Capture { hold: Uuid::nil(), is_final: false };
        let taken = take(&hold(1_001, 0, 15), capture, Some(Decimal::ONE)).expect("it is less than the hold");
        assert_eq!((taken.amount.scale(), taken.captured.scale(), taken.released.scale()), (2, 2, 2));
        let past = take(&hold(1_001, 0, 15), capture, Some(Decimal::new(1_152, 2)));
        assert!(matches!(past, Err(Error::HoldExceeded { most, .. }) if most.to_string() == "11.51"));
    }

    #[test]
    fn what_is_closed_is_not_captured() {
        let capture = Capture { hold: Uuid::nil(), is_final: false };
        for state in [State::Captured, State::Released, State::Expired] {
            let closed = Hold { state, ..hold(10_000, 0, 0) };
            assert!(matches!(take(&closed, capture, None), Err(Error::HoldNotOpen { .. })));
        }
        assert!(matches!(take(&hold(10_000, 10_000, 50), capture, None), Err(Error::HoldNotOpen { .. })));
    }

    proptest! {
        #[test]
        fn captures_release_what_was_set_aside_and_no_more(
            amount in 1i64..1_000_000,
            percent in 0i64..40,
            parts in proptest::collection::vec(1i64..400_000, 1..12),
        ) {
            let mut hold = hold(amount, 0, percent);
            let mut set_aside = hold.amount;
            for (at, part) in parts.iter().enumerate() {
                let is_final = at + 1 == parts.len();
                let capture = Capture { hold: hold.id, is_final };
                if let Ok(taken) = take(&hold, capture, Some(Decimal::new(*part, 2))) {
                    set_aside -= taken.released;
                    hold.captured = taken.captured;
                    prop_assert!(set_aside >= Decimal::ZERO);
                    prop_assert_eq!(set_aside, if is_final { Decimal::ZERO } else { hold.remaining() });
                    prop_assert!(hold.captured * Decimal::ONE_HUNDRED <= hold.amount * Decimal::from(100 + percent));
                }
            }
        }
    }
}
