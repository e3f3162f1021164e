//! The answers that the two methods with exact figures share.

/// Implements all of [`Method`](super::Method) but its names and the release of table cells: figures are exact, and nothing
/// is withheld. A trait's default methods would hide that a new method has these answers, so each method says this line.
macro_rules! exact_figures {
    () => {
        fn expected_error(&self) -> f64 {
            0.0
        }

        fn variance(&self) -> f64 {
            0.0
        }

        fn draws_noise(&self) -> bool {
            false
        }

        fn absent_is_withheld(&self) -> bool {
            false
        }

        fn statistics(&self) -> Statistics {
            Statistics::Totals
        }

        fn check(&self) -> Result<(), DisclosureError> {
            Ok(())
        }

        fn release(
            &self,
            spec: &TableSpec,
            _codec: &KeyCodec,
            stage: &Stage,
        ) -> Result<Vec<OutputRow>, DisclosureError> {
            exact::release(spec, stage)
        }
    };
}

pub(super) use exact_figures;
