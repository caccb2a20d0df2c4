//! Charts of one row, a meter, and the heat map.

use crate::glyphs::Glyphs;

/// One sign a value, the newest at the right; a hole is a blank. The scale begins at 0.
pub(crate) fn spark(values: &[Option<f64>], cells: usize, glyphs: Glyphs) -> String {
    let newest = values.get(values.len().saturating_sub(cells)..).unwrap_or_default();
    let most = newest.iter().flatten().copied().fold(0.0, f64::max);
    let bars = glyphs.bars();
    let steps = bars.len().saturating_sub(1);
    let sign = |value: &Option<f64>| match value {
        Some(value) if *value > 0.0 && most > 0.0 => {
            let step = ((value / most * steps as f64).ceil() as usize).clamp(1, steps);
            bars.get(step).copied().unwrap_or(' ')
        }
        Some(_) => glyphs.empty(),
        None => ' ',
    };
    let pad = " ".repeat(cells.saturating_sub(newest.len()));
    pad + &newest.iter().map(sign).collect::<String>()
}

/// `[###·····]`, `cells` wide with its brackets.
pub(crate) fn meter(share: f64, cells: usize, glyphs: Glyphs) -> String {
    let room = cells.saturating_sub(2);
    let full = ((share.clamp(0.0, 1.0) * room as f64).round() as usize).min(room);
    let fill = |sign: char, count: usize| sign.to_string().repeat(count);
    format!("[{}{}]", fill(glyphs.full(), full), fill(glyphs.empty(), room - full))
}

/// One row of the heat map: how much of each column's counts fell into this bucket.
pub(crate) fn heat_row(shares: &[Option<f64>], cells: usize, glyphs: Glyphs) -> String {
    let newest = shares.get(shares.len().saturating_sub(cells)..).unwrap_or_default();
    let shades = glyphs.shades();
    let sign = |share: &Option<f64>| {
        let step = match share {
            Some(share) if *share > 0.33 => 3,
            Some(share) if *share > 0.05 => 2,
            Some(share) if *share > 0.0 => 1,
            _ => 0,
        };
        shades.get(step).copied().unwrap_or(' ')
    };
    " ".repeat(cells.saturating_sub(newest.len())) + &newest.iter().map(sign).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_from_zero() {
        let ascii = Glyphs { ascii: true };
        assert_eq!(spark(&[Some(0.0), Some(4.0), None, Some(8.0)], 6, ascii), "  .= %");
        assert_eq!(spark(&[Some(1.0); 9], 3, ascii), "%%%");
        assert_eq!(spark(&[Some(f64::NAN), Some(f64::INFINITY)], 2, ascii).len(), 2);
        assert_eq!(meter(0.5, 6, ascii), "[##..]");
        assert_eq!(heat_row(&[Some(0.01), Some(0.2), Some(0.9)], 4, ascii), " .:#");
    }
}
