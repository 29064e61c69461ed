"""How people write true, false and the months, in the languages that can be told apart."""

YES = (
    *("true", "t", "yes", "y", "1", "1.0", "1,0", "on", "ja", "j", "wahr", "oui", "vrai", "si", "sí", "sì", "s"),
    *("verdadero", "vero", "verdadeiro", "sim", "tak", "ano", "áno", "igen", "da", "да", "истина", "evet", "kyllä"),
    *("taip", "jah", "jā", "ναι", "ναί", "ya", "vâng", "כן", "نعم", "हाँ", "是", "真", "はい", "예"),
)
"""Spellings of true in lower case."""

NO = (
    *("false", "f", "no", "n", "0", "0.0", "0,0", "off", "nein", "falsch", "non", "faux", "falso", "não", "nao", "nie"),
    *("ne", "nem", "nu", "нет", "не", "ложь", "hayır", "hayir", "ei", "nej", "nei", "nee", "όχι", "οχι", "tidak"),
    *("không", "לא", "لا", "नहीं", "否", "不", "假", "いいえ", "아니요"),
)
"""Spellings of false in lower case; none of them is true in another of the languages."""

MONTHS = (
    "january jan januar jänner jän janvier janv enero ene gennaio gen janeiro januari январь января янв",
    "february feb februar feber februari febr février fevrier févr "
    "fév fevr febrero febbraio fevereiro fev февраль февраля фев февр",
    "march mar märz maerz mär mrz mars marzo março marco maart mrt март марта",
    "april apr avril avr abril abr aprile апрель апреля апр",
    "may mai mayo maggio mag maio mei maj май мая",
    "june jun juni juin junio giugno giu junho июнь июня июн",
    "july jul juli juillet juil julio luglio lug julho июль июля июл",
    "august aug août aout agosto ago augustus augusti август августа авг",
    "september sept sep septembre septiembre settembre set setembro сентябрь сентября сен сент",
    "october oct oktober okt octobre octubre ottobre ott outubro out октябрь октября окт",
    "november nov novembre noviembre novembro ноябрь ноября ноя нояб",
    "december dec dezember dez décembre decembre déc diciembre dic dicembre dezembro декабрь декабря дек",
)
"""Names of the twelve months and their short forms, in lower case, split by blanks."""
