//! Which continent a country is on.

use super::Code;

/// The countries (ISO 3166-1, and Kosovo's `XK`) of each continent, as [GeoNames](https://www.geonames.org) has them.
const CONTINENTS: [(&[u8; 2], &str); 7] = [
    (
        b"AF",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA \
         NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    (b"AN", "AQ BV GS HM TF"),
    (
        b"AS",
        "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP \
         OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        b"EU",
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME \
         MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        b"NA",
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC \
         TT US VC VG VI",
    ),
    (b"OC", "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS"),
    (b"SA", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// Every two letters (26 by 26) and their continent, so that a look-up is one read.
const OF: [[u8; 2]; 26 * 26] = table();

const fn table() -> [[u8; 2]; 26 * 26] {
    let mut table = [[0; 2]; 26 * 26];
    let mut continent = 0;
    while continent < CONTINENTS.len() {
        let (code, countries) = CONTINENTS[continent];
        let letters = countries.as_bytes();
        let mut at = 0;
        while at < letters.len() {
            table[index([letters[at], letters[at + 1]])] = *code;
            at += 3;
        }
        continent += 1;
    }
    table
}

/// Two capital letters to 0 to 675.
const fn index(letters: [u8; 2]) -> usize {
    (letters[0] - b'A') as usize * 26 + (letters[1] - b'A') as usize
}

impl Code {
    /// The continent that a country is on; `None` for what is no country.
    #[must_use]
    pub fn continent(self) -> Option<Self> {
        let capitals = self.0.iter().all(u8::is_ascii_uppercase);
        let continent = capitals.then(|| OF[index(self.0)])?;
        (continent != [0; 2]).then_some(Self(continent))
    }

    /// Whether this is a continent. `AF`, `AS`, `NA` and `SA` are countries as well.
    #[must_use]
    pub fn is_continent(self) -> bool {
        CONTINENTS.iter().any(|(code, _)| **code == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn continent(country: &str) -> Option<std::string::String> {
        Code::parse(country).unwrap().continent().map(|continent| continent.to_string())
    }

    #[test]
    fn a_country_is_on_its_continent() {
        let known = [
            ("DE", "EU"),
            ("us", "NA"),
            ("BR", "SA"),
            ("JP", "AS"),
            ("NZ", "OC"),
            ("ZA", "AF"),
            ("AQ", "AN"),
        ];
        for (country, expected) in known {
            assert_eq!(continent(country).as_deref(), Some(expected), "{country}");
        }
        for none in ["ZZ", "EU", "XX", "AA"] {
            assert_eq!(continent(none), None, "{none}");
        }
        assert_eq!(Code([b'a', 0xff]).continent(), None);
    }

    #[test]
    fn every_country_is_there_once() {
        let mut countries: Vec<_> =
            CONTINENTS.iter().flat_map(|(_, countries)| countries.split(' ')).collect();
        assert!(countries.iter().all(|country| country.len() == 2));
        countries.sort_unstable();
        let all = countries.len();
        countries.dedup();
        // The 249 of ISO 3166-1, and Kosovo.
        assert_eq!((all, countries.len()), (250, 250));
    }
}
