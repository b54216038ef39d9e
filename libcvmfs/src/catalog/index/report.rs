use std::collections::BTreeMap;
use std::fmt;

/// The same finding about one or more rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub reason: &'static str,
    /// In how many rows.
    pub count: u64,
    /// The name in the first of them, escaped.
    pub example: String,
}

/// Findings of one kind.
#[derive(Debug, Default)]
pub(crate) struct Repairs(BTreeMap<&'static str, Finding>);

impl Repairs {
    pub(crate) fn note(&mut self, reason: &'static str, name: &[u8]) {
        self.0
            .entry(reason)
            .or_insert_with(|| Finding {
                reason,
                count: 0,
                example: name.escape_ascii().take(300).map(char::from).collect(),
            })
            .count += 1;
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.0.into_values().collect()
    }
}

/// What was wrong with a catalog from which an index was built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildReport {
    /// Entries of the index.
    pub entries: u32,
    /// Rows that were left out: no program will see them.
    pub dropped: Vec<Finding>,
    /// Entries that are seen but cannot be used.
    pub damaged: Vec<Finding>,
    /// Details that were replaced by harmless values.
    pub repaired: Vec<Finding>,
}

impl BuildReport {
    /// Whether nothing at all was wrong.
    pub fn is_clean(&self) -> bool {
        self.dropped.is_empty() && self.damaged.is_empty() && self.repaired.is_empty()
    }

    /// Rows that were left out.
    pub fn dropped_count(&self) -> u64 {
        self.dropped.iter().map(|finding| finding.count).sum()
    }

    /// Entries that cannot be used.
    pub fn damaged_count(&self) -> u64 {
        self.damaged.iter().map(|finding| finding.count).sum()
    }
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.entries)?;
        for (what, findings) in [("left out", &self.dropped), ("damaged", &self.damaged), ("repaired", &self.repaired)]
        {
            for Finding { reason, count, example } in findings {
                write!(f, "; {what}: {reason} ({count}, first '{example}')")?;
            }
        }
        Ok(())
    }
}
