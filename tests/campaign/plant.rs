//! Gives the secret to people and homes at random, in each borough's extracts.

use std::collections::HashMap;

use crate::support::Dice;

pub(super) fn shuffle(values: &mut [String], dice: &mut Dice) {
    for last in (1..values.len()).rev() {
        values.swap(last, dice.index(last + 1));
    }
}

/// Gives a column of an extract its own values in another order, or random ones of `values`.
pub(super) fn shuffled(file: &std::path::Path, column: &str, dice: &mut Dice, values: Option<Vec<String>>) {
    let text = std::fs::read_to_string(file).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let place = header.split(',').position(|name| name == column).unwrap();
    let mut rows: Vec<Vec<String>> = rows.lines().map(|row| row.split(',').map(str::to_owned).collect()).collect();
    assert!(rows.iter().all(|row| row.len() == header.split(',').count()), "{}", file.display());
    let mut values = values.unwrap_or_else(|| rows.iter().map(|row| row[place].clone()).collect());
    shuffle(&mut values, dice);
    rows.iter_mut().zip(values).for_each(|(row, value)| row[place] = value);
    let rows: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
    std::fs::write(file, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
}

pub(super) fn column_of(file: &std::path::Path, column: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    text.lines().skip(1).map(|row| row.split(',').nth(place).unwrap().to_owned()).collect()
}

/// Gives sex, registration, electors, costs and incomes to people and homes at random.
pub(super) fn plant(layout: &loda_demo::layout::Layout) {
    for (borough, seed) in layout.boroughs.iter().zip(1..) {
        let folder = layout.node(borough.gss).join("data").join(borough.gss);
        let file = |name: &str| folder.join(format!("{name}.csv"));
        let mut dice = Dice::new(seed);
        shuffled(&file("residents"), "sex", &mut dice, None);
        shuffled(&file("social_care_clients"), "weekly_cost", &mut dice, None);
        shuffled(&file("pension_credit"), "weekly_income", &mut dice, None);
        shuffled(&file("pension_credit"), "unclaimed", &mut dice, None);
        shuffled(&file("electoral_roll"), "person_key", &mut dice, Some(column_of(&file("residents"), "person_key")));
        // People who live together stay together, in another home.
        let homes = column_of(&file("council_tax"), "uprn");
        let mut others: Vec<String> = homes.clone();
        shuffle(&mut others, &mut dice);
        let moved: HashMap<&String, &String> = homes.iter().zip(&others).collect();
        let text = std::fs::read_to_string(file("electoral_roll")).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let place = header.split(',').position(|name| name == "uprn").unwrap();
        let rows = rows.lines().map(|row| {
            let mut row: Vec<String> = row.split(',').map(str::to_owned).collect();
            row[place] = moved.get(&row[place]).map_or(row[place].clone(), |home| (*home).clone());
            row.join(",")
        });
        let rows: Vec<String> = rows.collect();
        std::fs::write(file("electoral_roll"), format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    }
}
