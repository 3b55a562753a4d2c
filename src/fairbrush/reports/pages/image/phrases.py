"""What the page about one answer says of each closed set of facts.

The one rule: a message is English here and translated where it is shown; a test finds what has no German.
"""

from __future__ import annotations

from fairbrush.ledger.disputes import State
from fairbrush.reports.pages.charts import COLOURS
from fairbrush.reports.pages.image.earned import Pays, Place, Step
from fairbrush.reports.pages.image.facts import Unexplained
from fairbrush.reports.pages.words import later
from fairbrush.uncertainty import Confidence

SURE = {
    Confidence.CLEAR: later("Clear"),
    Confidence.MIXED: later("Clear, and shared"),
    Confidence.WEAK: later("Weak"),
    Confidence.UNKNOWN: later("Nobody is credited"),
}
SURE_MEANS = {
    Confidence.CLEAR: later(
        "One artist gets most of what artists get, and at least nine of ten other samples of the known works"
        " would have given at least half of it to the same artists."
    ),
    Confidence.MIXED: later(
        "Several artists share, and at least nine of ten other samples of the known works would have given"
        " at least half of it to the same artists."
    ),
    Confidence.WEAK: later(
        "Somebody is credited, but had other works of these artists been known, somebody else or nobody might"
        " well have been. Treat this answer with care."
    ),
    Confidence.UNKNOWN: later("That is an answer too: not every style is known here."),
}
STEPS = {
    Step.FEE: later("The platform's fee"),
    Step.MODEL: later("Makers of the model"),
    Step.UNATTRIBUTED: later("Nobody's part"),
}
PLACES = {
    Place.PAID: later("paid out"),
    Place.ON_ITS_WAY: later("proposed for payment"),
    Place.OWED: later("owed, not yet paid out"),
    Place.UNCLAIMED: later("held until somebody claims the style"),
    Place.OPTED_OUT: later("held: the artist has opted out"),
    Place.HELD: later("held until it is known whom to pay"),
    Place.DISPUTED: later("set aside while a dispute is open"),
    Place.PLATFORM: later("with the platform"),
    Place.FUND: later("in the fund for what is nobody's"),
}
COLOUR_OF = {
    Place.PAID: COLOURS[2],
    Place.ON_ITS_WAY: COLOURS[0],
    Place.OWED: COLOURS[0],
    Place.UNCLAIMED: COLOURS[1],
    Place.OPTED_OUT: COLOURS[1],
    Place.HELD: COLOURS[1],
    Place.DISPUTED: COLOURS[3],
    Place.PLATFORM: COLOURS[4],
    Place.FUND: COLOURS[4],
}
LEGEND = {
    COLOURS[2]: later("paid out"),
    COLOURS[0]: later("owed, or proposed for payment"),
    COLOURS[1]: later("held"),
    COLOURS[3]: later("in dispute"),
    COLOURS[4]: later("with the platform, or in the fund"),
}
WHY_NOBODY = {
    Unexplained.NO_ARTIST: later("No artist who is known here may be credited for images of this model."),
    Unexplained.TOO_FAR: later(
        "The image is not near enough to anybody's style. A weak likeness is not paid: most people's pictures"
        " are a little like somebody's."
    ),
    Unexplained.CALIBRATED_AWAY: later(
        "Somebody is near, but measurements of this model showed that such a likeness means nothing for it."
    ),
    Unexplained.UNLIKE_INPUTS: later("The image looks like no mixture of the images it was made from."),
    Unexplained.NOBODYS_INPUTS: later("No artist of the images it was made from may be credited."),
    Unexplained.PARTLY_NOBODYS_INPUTS: later(
        "It was made from images of which some are of nobody who may be credited. What only they explain is"
        " nobody's."
    ),
    Unexplained.NOT_RECOGNISED: later("That part of the style is not recognised as anybody's."),
}
PAYS = {
    Pays.SETTLED: later("This answer is the one by which the image's revenue was divided."),
    Pays.FIRST: later(
        "Nothing is settled by this answer now. It is the one that will divide what the image earns."
    ),
    Pays.OTHER: later(
        "Nothing is settled by this answer: another answer about the image divides its revenue."
    ),
    Pays.UNPINNED: later(
        "Nothing is settled by this answer, and as things are nothing will be: the rules in effect ask for"
        " an answer of another kind."
    ),
    Pays.NO_POLICY: later(
        "Nothing is settled by this answer: no rules for dividing money are in effect yet."
    ),
}
STATES = {
    State.OPEN: later("open: what it is about is set aside until it is decided"),
    State.REJECTED: later("decided: rejected, all stays as it was"),
    State.UPHELD: later("decided: upheld"),
}
# From which cosine on a work is called so. Reading aids: only the number is exact.
NEARNESS = (
    (0.8, later("very near (%(number)s)")),
    (0.5, later("near (%(number)s)")),
    (0.25, later("somewhat near (%(number)s)")),
    (-1.0, later("hardly near on its own (%(number)s)")),
)
