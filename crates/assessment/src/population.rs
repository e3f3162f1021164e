//! People by class numbers, and the tables about them.

use loda_disclosure::PTable;

/// A column of the records.
#[derive(Clone, Debug)]
pub struct Column {
    /// The name of the column.
    pub name: String,
    /// For each record, a class below `classes`. A missing value and an absent record are classes too.
    pub codes: Vec<u32>,
    /// The number of classes.
    pub classes: u32,
    /// For a column about another unit, such as a home: the number of each record's unit. The records of a unit share
    /// its class. `None`: each record is a subject of its own.
    pub subjects: Option<Vec<u32>>,
}

/// The records of a row domain.
#[derive(Clone, Debug, Default)]
pub struct Population {
    /// The number of records.
    pub records: usize,
    /// The columns. Each has a class for every record.
    pub columns: Vec<Column>,
}

/// The attribute that is assessed, as its place in [`Population::columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute(pub usize);

/// The tables, each as a set of places in [`Population::columns`]. Each part of a set that holds the assessed attribute
/// is in the list too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables(pub Vec<Vec<usize>>);

/// The rules by which cells are released.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The perturbation table that gives a count its noise.
    pub noise: &'a PTable,
    /// A cell with a smaller released count is withheld.
    pub threshold: u32,
    /// How often the same people are released with other noise, until the agreement ends.
    pub epochs: u32,
    /// How much the sums of a cell tell in addition to its count. 1 means as much again as the count.
    pub sums: f64,
}

impl Population {
    /// For each table that holds the attribute, its other columns.
    pub(crate) fn others(tables: &Tables, attribute: Attribute) -> Vec<Vec<usize>> {
        let holding = tables.0.iter().filter(|columns| columns.contains(&attribute.0));
        let mut others: Vec<Vec<usize>> =
            holding.map(|columns| columns.iter().copied().filter(|column| *column != attribute.0).collect()).collect();
        others.sort();
        others.dedup();
        others
    }

    /// For each record, its cell in the table of some columns, and the number of cells. Cells are numbered in the order
    /// of their first records.
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

    /// For each record, the number of the subject that has the attribute, and the number of subjects.
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
