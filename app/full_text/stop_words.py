"""Words that are in nearly every text of a language, and tell nothing about one: articles, prepositions, pronouns.

Few on purpose: BM25 gives what is common little weight by itself, and who asks for "act" or "system" must find it.
"""

_WORDS = {
    "en": (
        "a an and are as at be but by for from if in into is it its no not of on or such that the their then "
        "there these they this to was were will with"
    ),
    "fr": (
        "a à au aux avec c ce ces d dans de des du elle en est et eux il ils j je l la le les leur leurs lui "
        "m ma mais me mes n ne nos notre nous on ou par pas pour qu que qui s sa sans se ses son sont sur t "
        "ta te tes ton tu un une vos votre vous y"
    ),
    "es": (
        "a al con como de del desde e el ella en entre era es esta este esto la las le les lo los más me mi "
        "muy ni no nos o para pero por que se si sin sobre son su sus también un una uno unos unas y ya"
    ),
    "pt": (
        "a ao aos as até com como da das de do dos e é ela ele em entre era essa esse esta este isso isto já "
        "lhe mais mas na nas não no nos o os ou para pela pelas pelo pelos por quando que se sem ser seu sua "
        "são também um uma"
    ),
    "it": (
        "a ad agli ai al all alla alle allo anche c che chi ci col come con d da dagli dai dal dall dalla "
        "dalle degli dei del dell della delle dello di e ed fra gli i il in io l la le lo ma mi ne negli nei "
        "nel nell nella nelle no non o per più quell se si sono su sugli sui sul sull sulla sulle sullo tra "
        "un una uno v è"
    ),
    "de": (
        "aber als am an auch auf aus bei bin bis bist da das daß dass dem den der des die doch du durch ein "
        "eine einem einen einer eines er es für hat ich ihr im in ist ja mit nach nicht noch nur ob oder sein "
        "sich sie sind so über um und uns unter vom von vor war wenn wer wie wir zu zum zur"
    ),
    "nl": (
        "aan al als bij dan dat de der die dit een en er had haar heb heeft hem het hij hoe ik in is je maar "
        "me met mijn na naar niet nog of om onder ook op over te ten tot u uit van voor want was wat we wel "
        "wie wij wordt ze zich zij zijn zo"
    ),
}


def stop_words(language: str) -> frozenset[str]:
    """Folded as `str.casefold` does, as the words of a text are when they are looked up here."""
    return frozenset(word.casefold() for word in _WORDS.get(language, "").split())
