//! The encoding of a file: as declared, by a byte order mark, by validity, or by a guess that is reported.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use encoding_rs_io::{DecodeReaderBytes, DecodeReaderBytesBuilder};

/// The encoding with which a file's bytes are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoding {
    pub(crate) encoding: &'static Encoding,
    declared: bool,
}

impl Decoding {
    /// The encoding of a name such as `windows-1252` or `utf-8`.
    ///
    /// # Errors
    /// There is no such encoding.
    pub(crate) fn named(name: &str) -> anyhow::Result<&'static Encoding> {
        Encoding::for_label(name.as_bytes())
            .with_context(|| format!("'{name}' is no encoding: write utf-8, windows-1252 or utf-16le"))
    }

    /// Finds the encoding. Without a declaration and a mark, it reads the whole file, in pieces.
    ///
    /// # Errors
    /// The file cannot be read, or is not text.
    pub(crate) fn of(path: &Path, declared: Option<&'static Encoding>) -> anyhow::Result<Self> {
        if let Some(encoding) = declared {
            return Ok(Self { encoding, declared: true });
        }
        let mut file = File::open(path)?;
        let mut buffer = vec![0_u8; 1 << 16];
        let mut utf8 = UTF_8.new_decoder_without_bom_handling();
        let mut guess = EncodingDetector::new(Iso2022JpDetection::Deny);
        let mut text = String::with_capacity(3 << 16);
        let (mut good, mut bad, mut first, mut nuls) = (0_u64, 0_u64, true, 0_usize);
        loop {
            let read = file.read(&mut buffer)?;
            let piece = buffer.get(..read).unwrap_or_default();
            if std::mem::take(&mut first)
                && let Some((encoding, _)) = Encoding::for_bom(piece)
            {
                return Ok(Self { encoding, declared: false });
            }
            nuls = nuls.saturating_add(piece.iter().filter(|byte| **byte == 0).count());
            if nuls > 1000 {
                break;
            }
            text.clear();
            let _counted_below = utf8.decode_to_string(piece, &mut text, read == 0);
            for c in text.chars().filter(|c| !c.is_ascii()) {
                *if c == '\u{fffd}' { &mut bad } else { &mut good } += 1;
            }
            guess.feed(piece, read == 0);
            if read == 0 {
                break;
            }
        }
        if nuls > 1000 {
            return Self::of_wide(path);
        }
        // There are a few bytes that are not UTF-8 among many letters that are. The rows with these bytes are reported,
        // and all others are right.
        if bad == 0 || good >= bad.saturating_mul(20) {
            return Ok(Self { encoding: UTF_8, declared: false });
        }
        let encoding = guess.guess(None, Utf8Detection::Deny);
        // Names here are Western. The detector tells other single-byte encodings from windows-1252 by a few bytes, and
        // such a guess could surprise.
        let encoding = if encoding.is_single_byte() { WINDOWS_1252 } else { encoding };
        Ok(Self { encoding, declared: false })
    }

    /// Text of two bytes a character, without a mark: every other byte is 0.
    fn of_wide(path: &Path) -> anyhow::Result<Self> {
        let mut start = [0_u8; 1024];
        let read = File::open(path)?.read(&mut start)?;
        let zero = |parity: usize| {
            let bytes = start.iter().take(read).skip(parity).step_by(2);
            bytes.filter(|byte| **byte == 0).count() * 4 > read
        };
        match (zero(0), zero(1)) {
            (false, true) => Ok(Self { encoding: UTF_16LE, declared: false }),
            (true, false) => Ok(Self { encoding: UTF_16BE, declared: false }),
            _ => bail!("it is no text: it is full of NUL bytes. Is it a workbook or a database under another name?"),
        }
    }

    /// The encoding in words, for the report.
    pub(crate) fn describe(&self) -> String {
        format!("{}{}", self.encoding.name(), if self.declared { ", as declared" } else { "" })
    }

    /// The text as UTF-8. Bytes that cannot be decoded become U+FFFD.
    pub(crate) fn reader(&self, path: &Path) -> anyhow::Result<DecodeReaderBytes<File, Vec<u8>>> {
        let file = File::open(path)?;
        Ok(DecodeReaderBytesBuilder::new().encoding(Some(self.encoding)).bom_override(true).build(file))
    }
}
