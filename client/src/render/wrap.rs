//! Text for a terminal's width.

/// The narrowest text. A narrower terminal breaks it where it likes.
const NARROWEST: usize = 30;

/// Text broken between words at a terminal's width. A line keeps its margin, and what follows it has two spaces more.
/// Without a width, or where no space is, lines have any length.
pub fn wrapped(text: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(|width| usize::from(width).max(NARROWEST)) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let margin = line.len().saturating_sub(line.trim_start().len());
        let mut long = 0;
        for (place, word) in whole_words(line.trim_start()).enumerate() {
            let size = word.chars().count();
            if place == 0 {
                out.push_str(&" ".repeat(margin));
                long = margin;
            } else if long + 1 + size > width {
                out.push('\n');
                out.push_str(&" ".repeat(margin + 2));
                long = margin + 2;
            } else {
                out.push(' ');
                long += 1;
            }
            out.push_str(word);
            long += size;
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

/// The words of a line. A text in single quotes is part of one word: with a line break in it, it would be another text.
/// An apostrophe after a letter opens no quotes.
fn whole_words(line: &str) -> impl Iterator<Item = &str> {
    let (mut inside, mut before) = (false, ' ');
    line.split(move |sign| {
        if sign == '\'' {
            inside = !inside && !char::is_alphanumeric(before);
        }
        before = sign;
        sign == ' ' && !inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_and_margins_stay() {
        let text = "residents: cell-key; counts people; 33 of 33 boroughs answered\n  withheld: 5 of 6 values, shown as [c] here\n";
        let narrow = wrapped(text, Some(32));
        assert!(narrow.lines().all(|line| line.chars().count() <= 32), "{narrow}");
        assert_eq!(
            narrow,
            "residents: cell-key; counts\n  people; 33 of 33 boroughs\n  answered\n  withheld: 5 of 6 values, shown\n    as [c] here\n"
        );
        assert_eq!(wrapped(text, None), text);
        let sql = "  WHERE tenure = 'Owned with a mortgage, or so' AND sex = 'Female'";
        assert!(wrapped(sql, Some(32)).contains("'Owned with a mortgage, or so'\n"), "{}", wrapped(sql, Some(32)));
        let prose = "a borough's data and the other boroughs' data are 'in part' there";
        assert!(wrapped(prose, Some(30)).lines().all(|line| line.len() <= 30), "{}", wrapped(prose, Some(30)));
        assert_eq!(wrapped("a b", Some(80)), "a b");
    }
}
