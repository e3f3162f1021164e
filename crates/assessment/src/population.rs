//! People by class numbers, and the tables that tell of them.

use loda_disclosure::PTable;

/// A column of the records: what each has of it.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// For each record a class below `classes`; no value and not being there are classes too.
    pub codes: Vec<u32>,
    pub classes: u32,
    /// Of a column that tells of another unit (a home): the number of each record's. Its members have it together.
    pub subjects: Option<Vec<u32>>,
}

/// The records of a row domain.
#[derive(Clone, Debug, Default)]
pub struct Population {
    pub records: usize,
    pub columns: Vec<Column>,
}

/// The attribute that is assessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute(pub usize);

/// Sets of columns, each a table: with every set that is a part of one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables(pub Vec<Vec<usize>>);

/// How cells are released.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub noise: &'a PTable,
    pub threshold: u32,
    /// How often the same people are released with other noise, until the agreement ends.
    pub epochs: u32,
    /// How much sums in the same cells tell beside their counts: 1 as much again.
    pub sums: f64,
}

impl Population {
    /// The tables that hold a column, by what else they hold.
    pub(crate) fn others(tables: &Tables, attribute: Attribute) -> Vec<Vec<usize>> {
        let holding = tables.0.iter().filter(|columns| columns.contains(&attribute.0));
        let mut others: Vec<Vec<usize>> =
            holding.map(|columns| columns.iter().copied().filter(|column| *column != attribute.0).collect()).collect();
        others.sort();
        others.dedup();
        others
    }

    /// For each record its cell in the table of some columns, and how many cells there are. Cells are numbered as they come.
    pub(crate) fn cells(&self, columns: &[usize]) -> (Vec<u32>, usize) {
        let mut cells = vec![0_u32; self.records];
        let mut count = 1;
        for column in columns.iter().filter_map(|column| self.columns.get(*column)) {
            let classes = column.classes.max(1) as usize;
            let mut numbers = vec![u32::MAX; count * classes];
            let mut next = 0_u32;
            for (cell, code) in cells.iter_mut().zip(&column.codes) {
                let place = *cell as usize * classes + *code as usize;
                let Some(number) = numbers.get_mut(place) else { continue };
                if *number == u32::MAX {
                    *number = next;
                    next += 1;
                }
                *cell = *number;
            }
            count = next as usize;
        }
        (cells, count.max(1))
    }

    /// For each record the number of the one that has an attribute, and how many there are.
    pub(crate) fn subjects(&self, attribute: Attribute) -> (Vec<u32>, usize) {
        match self.columns.get(attribute.0).and_then(|column| column.subjects.as_ref()) {
            None => ((0..self.records as u32).collect(), self.records),
            Some(subjects) => {
                let most = subjects.iter().copied().max().map_or(0, |most| most as usize + 1);
                (subjects.clone(), most)
            }
        }
    }
}
