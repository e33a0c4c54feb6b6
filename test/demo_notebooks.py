"""The notebooks test/demo commits: (user, uuid, name, path, pages)."""

FIELD = [
    "# Beobachtung {n}\n\n**Date: {d:02d}-03-2026**\n---\n"
    "Größe, Gewicht und *Wetter* gemessen; süßer Duft über der Wiese.\n\n"
    "- Station Süd\n  - Temperatur: {t} °C\n  - Feuchte: {h} %\n"
    "- Station Nord\n\n1. Netz prüfen\n2. Akku laden\n\n"
    "> Merke: ~~früher~~ später messen\n\n- [ ] Proben {n} beschriften\n"
    "- [x] Protokoll abgelegt\n\n`Lauf {n}` ↳ siehe [Karte](https://example.org/karte/{n})",
]

FIELD_PAGES = [FIELD[0].format(n=n, d=1 + n % 28, t=8 + n % 17, h=40 + n % 50)
               for n in range(1, 101)]

TRAVEL_PAGES = [
    "# 旅の手帖 🗾\n\n京都から**奈良**へ。電車で四十五分。\n\n- 東大寺\n  - 大仏殿\n    - 柱の穴\n- 春日大社",
    "## 買い物\n\n- [ ] 抹茶\n- [x] 手拭い\n- [ ] 和菓子 🍡\n\n> 一期一会",
    "| 日 | 宿 | 円 |\n|---|---|---|\n| 一 | 京都 | 9800 |\n| 二 | 奈良 | 7600 |\n\n合計: **17400円**",
    "---\n\n雨。傘を*忘れた*。☔️\n\n1. 駅へ戻る\n2. 傘を買う",
]

SEEDS_PAGES = [
    "# Garden plan 🌱\n\nSow in **March**:\n\n- tomatoes 🍅\n- beans\n  - runner\n  - dwarf\n    - yellow\n- peas\n\n```\nrow = 40 cm\nseed = 5 cm\n```",
    "## To do\n\n- [x] order seeds 👩‍🌾\n- [ ] repair the frame\n- [ ] compost ♻️\n\n> Water in the evening, never at noon.",
    "Family emoji stay whole: 👩‍👩‍👧 🇨🇭 🏳️‍🌈\n\n***\n\nEnd of season: ~~October~~ **November**",
]

MEETING_PAGES = [
    "# Besprechung {n}\n\nTeilnehmer: vier\n\n* Punkt A\n* Punkt B\n    * Unterpunkt\n\n**Beschluss:** weiter so.".format(n=n)
    for n in range(1, 13)
]

NOTEBOOKS = [
    (1, "5b1f0c9e-1111-4a6b-9a01-000000000001", "Feldbuch 2026", "Arbeit/Feldbuch 2026", FIELD_PAGES),
    (1, "5b1f0c9e-1111-4a6b-9a01-000000000002", "旅の手帖", "旅/旅の手帖", TRAVEL_PAGES),
    (2, "5b1f0c9e-2222-4a6b-9a01-000000000001", "Garden 🌱 and seeds", "Home/Garden 🌱 and seeds", SEEDS_PAGES),
    (2, "5b1f0c9e-2222-4a6b-9a01-000000000002", "Besprechungen", "Arbeit/Besprechungen", MEETING_PAGES),
]
