//! A 5×7 bitmap font: capitals, digits and the signs of a clock.

/// The distance from one character to the next, in dots.
pub const ADVANCE: usize = 6;
/// The height of a character, in dots.
pub const HEIGHT: usize = 7;
const WIDTH: usize = 5;

#[rustfmt::skip]
const GLYPHS: [(u8, [u8; HEIGHT]); 45] = [
    (b' ', [0, 0, 0, 0, 0, 0, 0]),
    (b'#', [0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010]),
    (b'+', [0, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0]),
    (b'-', [0, 0, 0, 0b11111, 0, 0, 0]),
    (b'.', [0, 0, 0, 0, 0, 0b01100, 0b01100]),
    (b'/', [0, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0]),
    (b'0', [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110]),
    (b'1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    (b'2', [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111]),
    (b'3', [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110]),
    (b'4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    (b'5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110]),
    (b'6', [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    (b'7', [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000]),
    (b'8', [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110]),
    (b'9', [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100]),
    (b':', [0, 0b01100, 0b01100, 0, 0b01100, 0b01100, 0]),
    (b'A', [0b01110, 0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001]),
    (b'B', [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110]),
    (b'C', [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110]),
    (b'D', [0b11100, 0b10010, 0b10001, 0b10001, 0b10001, 0b10010, 0b11100]),
    (b'E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    (b'F', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000]),
    (b'G', [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01111]),
    (b'H', [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    (b'I', [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    (b'J', [0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100]),
    (b'K', [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001]),
    (b'L', [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    (b'M', [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001]),
    (b'N', [0b10001, 0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001]),
    (b'O', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    (b'P', [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000]),
    (b'Q', [0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101]),
    (b'R', [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001]),
    (b'S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    (b'T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    (b'U', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    (b'V', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    (b'W', [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b10101, 0b01010]),
    (b'X', [0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001]),
    (b'Y', [0b10001, 0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100]),
    (b'Z', [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111]),
    (b'_', [0, 0, 0, 0, 0, 0, 0b11111]),
    (b'?', UNKNOWN),
];

/// An empty box: what the font does not have.
const UNKNOWN: [u8; HEIGHT] = [0b11111, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11111];

/// Whether a dot of a character is lit. Small letters look like capitals; `column` counts to [`ADVANCE`], so that
/// the gap between characters is included.
pub fn dot(character: u8, column: usize, row: usize) -> bool {
    if column >= WIDTH || row >= HEIGHT {
        return false;
    }
    let wanted = character.to_ascii_uppercase();
    let glyph = GLYPHS.iter().find(|(known, _)| *known == wanted).map_or(&UNKNOWN, |(_, glyph)| glyph);
    glyph[row] >> (WIDTH - 1 - column) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_characters_look_alike() {
        for (i, (a, one)) in GLYPHS.iter().enumerate() {
            for (b, other) in &GLYPHS[i + 1..] {
                assert_ne!(one, other, "{} and {}", *a as char, *b as char);
            }
        }
    }

    #[test]
    fn a_seven_is_drawn_as_a_seven_and_nothing_lies_in_the_gap() {
        let row = |y| (0..ADVANCE).map(|x| if dot(b'7', x, y) { '#' } else { '.' }).collect::<String>();
        let drawn: Vec<String> = (0..HEIGHT).map(row).collect();
        assert_eq!(drawn, ["#####.", "....#.", "...#..", "..#...", ".#....", ".#....", ".#...."]);
    }

    #[test]
    fn small_letters_are_capitals_and_strange_ones_a_box() {
        assert_eq!(dot(b'q', 4, 6), dot(b'Q', 4, 6));
        assert!(dot(0xE4, 0, 0) && !dot(0xE4, 2, 3));
    }
}
