//! The questions that remain, each under a key by which it is decided.

/// Questions in the order in which they came up.
#[derive(Debug, Default)]
pub(crate) struct Questions(Vec<(String, String)>);

impl Questions {
    pub(crate) fn ask(&mut self, key: impl Into<String>, question: impl Into<String>) {
        let key = key.into();
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, text)) => *text = format!("{text} {}", question.into()),
            None => self.0.push((key, question.into())),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, question)| (key.as_str(), question.as_str()))
    }
}
