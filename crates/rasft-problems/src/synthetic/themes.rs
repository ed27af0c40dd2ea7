//! The themes: what people have, and how they come by it and lose it.
//!
//! Placeholders: `<n>` the person, `<o>` the things, `<v>` how many there are, `<b>` a change, `<k>` groups of `<m>`,
//! `<c>` what groups come in.

/// Words and sentences of one theme; every list is chosen from by seed.
pub(super) struct Theme {
    pub name: &'static str,
    pub objects: &'static [&'static str],
    pub containers: &'static [&'static str],
    pub start: &'static [&'static str],
    pub gain: &'static [&'static str],
    pub lose: &'static [&'static str],
    pub gain_groups: &'static [&'static str],
    pub lose_groups: &'static [&'static str],
    pub times: &'static [&'static str],
    pub share: &'static [&'static str],
}

/// The names of the themes.
pub const THEMES: [&str; 6] = ["collection", "orchard", "shop", "money", "kitchen", "garden"];

/// The people; single words, so that each is one token.
pub(super) const NAMES: [&str; 24] = [
    "Ada", "Ann", "Ben", "Carl", "Dora", "Emil", "Finn", "Gus", "Hana", "Ida", "Jack", "Kim", "Leo", "Mia", "Nils",
    "Olga", "Paul", "Rosa", "Sam", "Tara", "Uma", "Vera", "Wes", "Zoe",
];

pub(super) static ALL: [Theme; 6] = [
    Theme {
        name: THEMES[0],
        objects: &["shells", "stamps", "coins", "cards", "stones", "beads"],
        containers: &["bags", "boxes"],
        start: &["<n> has <v> <o>.", "<n> collects <o> and has <v> of them."],
        gain: &["<n> finds <b> more <o>.", "A friend gives <n> <b> more <o>."],
        lose: &["<n> loses <b> <o>.", "<n> gives <b> <o> to a friend."],
        gain_groups: &["<n> buys <k> <c> with <m> <o> in each.", "On each of <k> days, <n> finds <m> <o>."],
        lose_groups: &["<n> gives <m> <o> to each of <k> friends.", "<n> sells <k> <c> with <m> <o> in each."],
        times: &["<n> trades well and then has <k> times as many <o>."],
        share: &["<n> puts all <o> into <k> equal <c> and keeps one of them."],
    },
    Theme {
        name: THEMES[1],
        objects: &["apples", "pears", "plums", "lemons", "nuts", "berries"],
        containers: &["baskets", "crates"],
        start: &["<n> has <v> <o> from the orchard.", "There are <v> <o> in the barn of <n>."],
        gain: &["<n> picks <b> more <o>.", "A helper brings <n> <b> more <o>."],
        lose: &["<n> eats <b> <o>.", "<n> sells <b> <o>."],
        gain_groups: &["<n> picks <m> <o> from each of <k> trees.", "<n> gets <k> <c> with <m> <o> in each."],
        lose_groups: &["<n> sells <k> <c> with <m> <o> in each.", "<n> gives <m> <o> to each of <k> helpers."],
        times: &["After a good week, <n> has <k> times as many <o>."],
        share: &["<n> puts all <o> into <k> equal <c> and keeps one of them."],
    },
    Theme {
        name: THEMES[2],
        objects: &["books", "pens", "cups", "lamps", "hats", "toys"],
        containers: &["boxes", "packs"],
        start: &["<n> has a shop with <v> <o>.", "In the shop of <n>, there are <v> <o>."],
        gain: &["<n> orders <b> more <o>.", "A truck brings <b> more <o>."],
        lose: &["<n> sells <b> <o>.", "<n> sends <b> <o> back."],
        gain_groups: &["A truck brings <k> <c> with <m> <o> in each.", "<n> orders <m> <o> on each of <k> days."],
        lose_groups: &["<n> sells <m> <o> on each of <k> days.", "<n> sends <k> <c> with <m> <o> in each back."],
        times: &["After a big order, <n> has <k> times as many <o>."],
        share: &["<n> puts all <o> into <k> equal <c> and keeps one of them."],
    },
    Theme {
        name: THEMES[3],
        objects: &["dollars", "euros", "points", "tokens"],
        containers: &["jars", "parts"],
        start: &["<n> has <v> <o>.", "<n> has saved <v> <o>."],
        gain: &["<n> earns <b> more <o>.", "<n> gets <b> <o> as a gift."],
        lose: &["<n> spends <b> <o>.", "<n> pays <b> <o> for food."],
        gain_groups: &[
            "<n> works for <k> hours and earns <m> <o> each hour.",
            "<n> gets <m> <o> from each of <k> friends.",
        ],
        lose_groups: &["<n> buys <k> tickets for <m> <o> each.", "On each of <k> days, <n> spends <m> <o>."],
        times: &["<n> saves more and then has <k> times as many <o>."],
        share: &["<n> splits all <o> into <k> equal <c> and keeps one of them."],
    },
    Theme {
        name: THEMES[4],
        objects: &["cookies", "cakes", "rolls", "pies", "buns", "muffins"],
        containers: &["trays", "plates"],
        start: &["<n> has <v> <o> in the kitchen.", "<n> bakes <v> <o>."],
        gain: &["<n> bakes <b> more <o>.", "A cook brings <n> <b> more <o>."],
        lose: &["<n> eats <b> <o>.", "<n> burns <b> <o>."],
        gain_groups: &["<n> bakes <k> <c> with <m> <o> on each.", "On each of <k> days, <n> bakes <m> <o>."],
        lose_groups: &["<n> serves <m> <o> to each of <k> guests.", "<n> sells <k> <c> with <m> <o> on each."],
        times: &["After a long day, <n> has <k> times as many <o>."],
        share: &["<n> puts all <o> on <k> equal <c> and keeps one of them."],
    },
    Theme {
        name: THEMES[5],
        objects: &["roses", "tulips", "herbs", "bushes", "flowers", "plants"],
        containers: &["rows", "beds"],
        start: &["<n> has <v> <o> in the garden.", "In the garden of <n>, there are <v> <o>."],
        gain: &["<n> grows <b> more <o>.", "A neighbor gives <n> <b> more <o>."],
        lose: &["<n> cuts <b> <o>.", "<n> gives <b> <o> to a neighbor."],
        gain_groups: &["<n> grows <k> <c> with <m> <o> in each.", "On each of <k> days, <n> gets <m> <o>."],
        lose_groups: &["<n> cuts <m> <o> in each of <k> <c>.", "<n> gives <m> <o> to each of <k> friends."],
        times: &["After a warm spring, <n> has <k> times as many <o>."],
        share: &["<n> moves all <o> into <k> equal <c> and keeps one of them."],
    },
];

#[cfg(test)]
mod tests {
    #[test]
    fn names_agree() {
        assert_eq!(super::ALL.each_ref().map(|theme| theme.name), super::THEMES);
    }
}
