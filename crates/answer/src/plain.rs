//! Text that came over the wire, made safe to print.
//!
//! A borough's, a contract's or another asker's text must not move the cursor, repaint the screen,
//! set the clipboard or reorder what is read (Unicode's bidirectional controls).

/// One line: white space becomes a space, other controls go.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_control(*c)).collect()
}

/// A block: line feeds stay, and all else as in [`line`].
pub fn block(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A block with each line behind `margin`.
pub fn indented(text: &str, margin: &str) -> String {
    block(text).lines().map(|line| format!("{margin}{}\n", line.trim_end())).collect()
}

/// Whether a terminal may act on it, or a reader be misled by it.
pub fn is_control(c: char) -> bool {
    let misleads = matches!(c,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || misleads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_lose_their_power() {
        assert_eq!(line("Cam\u{1b}]52;c;eA==\u{7}den\r\n"), "Cam]52;c;eA==den  ");
        assert_eq!(line("a\u{202e}b\u{7f}\u{85}c"), "ab c");
        assert_eq!(line("Café – naïve"), "Café – naïve");
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("a\n\tb\r\nc"), "a\n b\nc");
        assert_eq!(indented("a\nb", "  "), "  a\n  b\n");
    }
}
