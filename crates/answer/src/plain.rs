//! Text that came over the wire, made safe to print.
//!
//! A text of a borough, a contract or another asker must not move the cursor, repaint the screen or set the clipboard.
//! It must not change the order in which a person reads it (Unicode's bidirectional controls).

/// A text as one line. White space becomes a space, and other control characters are removed.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_control(*c)).collect()
}

/// A text as a block. Line feeds stay, and each line is as in [`line`].
pub fn block(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A block with `margin` before each line. White space at the ends of lines is removed.
pub fn indented(text: &str, margin: &str) -> String {
    block(text).lines().map(|line| format!("{margin}{}\n", line.trim_end())).collect()
}

/// Whether a character can make a terminal act, or mislead a reader.
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
