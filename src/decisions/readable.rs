//! Text that people are to read, and to tell from other text. Knows: Unicode. Must not know: what the text is for.

use icu_properties::props::{
    DefaultIgnorableCodePoint, EmojiModifier, ExtendedPictographic, GeneralCategory as Category, Script,
    VariationSelector,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Characters that are symbols by name and leave a blank.
const BLANK: [char; 2] = ['\u{2800}', '\u{1d159}'];
/// Zero width non-joiner and joiner.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];
/// Scripts in which a joiner changes nothing that can be seen, so that it only makes two names look alike.
const WITHOUT_JOINING: [Script; 11] = [
    Script::Common,
    Script::Latin,
    Script::Greek,
    Script::Cyrillic,
    Script::Armenian,
    Script::Georgian,
    Script::Hebrew,
    Script::Han,
    Script::Hiragana,
    Script::Katakana,
    Script::Hangul,
];

/// What a character does for a reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It can be seen by itself.
    Visible,
    /// It changes the one before it: a mark, or the choice of a form.
    Modifier,
    /// It leaves a gap, or it is not known what it looks like.
    Gap,
    /// It joins its neighbours, or keeps them apart.
    Joiner,
    /// It steers what is around it, or cannot be seen at all.
    Hidden,
}

/// Whether there is something to see in a text, and nothing hides in it: no control character, none that changes the
/// direction of writing, and none that is invisible, but for joiners where they change what is seen (emoji, Persian).
pub(super) fn is_readable(text: &str) -> bool {
    let mut is_seen = false;
    let mut base = None;
    let mut before = Part::Gap;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let part = part(c);
        let fits = match part {
            Part::Visible | Part::Gap => true,
            Part::Modifier => before != Part::Gap || !is_selector(c),
            Part::Joiner => {
                let follows = matches!(before, Part::Visible | Part::Modifier);
                follows && base.zip(rest.peek().copied()).is_some_and(|(base, next)| joins(base, next))
            }
            Part::Hidden => false,
        };
        if !fits {
            return false;
        }
        if part == Part::Visible {
            (is_seen, base) = (true, Some(c));
        }
        before = part;
    }
    is_seen
}

fn part(c: char) -> Part {
    if JOINERS.contains(&c) {
        return Part::Joiner;
    }
    if is_selector(c) {
        return Part::Modifier;
    }
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return Part::Hidden;
    }
    match CodePointMapData::<Category>::new().get(c) {
        Category::Control | Category::Format | Category::LineSeparator | Category::ParagraphSeparator => {
            Part::Hidden
        }
        Category::NonspacingMark | Category::EnclosingMark | Category::SpacingMark => Part::Modifier,
        Category::SpaceSeparator | Category::PrivateUse | Category::Surrogate | Category::Unassigned => {
            Part::Gap
        }
        _ if BLANK.contains(&c) => Part::Gap,
        _ => Part::Visible,
    }
}

/// Whether it chooses among the forms of the character before it, such as text or emoji.
fn is_selector(c: char) -> bool {
    CodePointSetData::new::<VariationSelector>().contains(c)
}

/// Whether a joiner between these two can change what is seen.
fn joins(base: char, next: char) -> bool {
    let pictures = CodePointSetData::new::<ExtendedPictographic>();
    if pictures.contains(base) || CodePointSetData::new::<EmojiModifier>().contains(base) {
        return pictures.contains(next);
    }
    let script = CodePointMapData::<Script>::new().get(base);
    !WITHOUT_JOINING.contains(&script) && matches!(part(next), Part::Visible | Part::Modifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen_is_taken_in_every_script() {
        for text in [
            "Widgets",
            "Z\u{fc}rich caf\u{65}\u{301}",
            // Persian, with a non-joiner within a word.
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            // Bengali: a joiner before a mark. Sinhala: a joiner after one.
            "\u{9b0}\u{200d}\u{9cd}\u{9af}",
            "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
            // A family, an astronaut of a skin colour, a heart on fire, the rainbow flag, a keycap.
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{1f469}\u{1f3fd}\u{200d}\u{1f680} Rockets",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
            "1\u{fe0f}\u{20e3}",
            "\u{6771}\u{4eac}\u{3000}\u{30a2}\u{30d7}\u{30ea}",
            "dots \u{2801}\u{2800}\u{2803}",
        ] {
            assert!(is_readable(text), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_name() {
        for text in [
            "",
            " ",
            "\u{3164}",
            "\u{2800}",
            "\u{ad}",
            "\u{200b}",
            "\u{115f}\u{1160}",
            "\u{ffa0}",
            "\u{2800} \u{2800}",
            "\u{34f}",
            "\u{fe0f}",
            "\u{301}",
            "\u{200d}",
            "\u{3000}",
            "\u{1d159}",
            "\u{e0041}",
            "\u{e000}",
        ] {
            assert!(!is_readable(text), "{text:?}");
        }
    }

    #[test]
    fn nothing_hides_in_a_name_or_steers_what_is_around_it() {
        for hidden in [
            "a\u{202e}b",
            "a\u{2066}b",
            "\u{200f}a",
            "a\u{61c}",
            "a\nb",
            "a\u{7f}",
            "a\u{2028}b",
            "a\u{ad}b",
            "a\u{200b}b",
            "a\u{feff}b",
            "a\u{2060}b",
            "a\u{34f}b",
            "a\u{3164}b",
            "a\u{e0041}b",
            "a\u{fff9}b",
            // Joiners that change nothing: in Latin, at an end, twice, beside a space, from a picture to a letter.
            "a\u{200d}b",
            "Pay\u{200c}Pal",
            "\u{645}\u{200c}",
            "\u{200c}\u{645}",
            "\u{645}\u{200c}\u{200c}\u{645}",
            "\u{645}\u{200c} \u{645}",
            "\u{1f525}\u{200d}",
            "\u{1f525}\u{200d}a",
            "a \u{fe0f}",
        ] {
            assert!(!is_readable(hidden), "{hidden:?}");
        }
    }
}
