"""What people ask and models answer in the seeded day."""

from __future__ import annotations

from typing import Any

SYSTEM = {
    "support": (
        "You are the support assistant of Northwind Bikes. Answer from the order data you are given, in the "
        "customer's language, in at most five sentences. Never promise a date that the carrier has not "
        "confirmed."
    ),
    "search-rewrite": "Rewrite the shopper's query as one line of keywords. Keep brands and sizes. No prose.",
    "summarize": "Summarise the meeting notes: decisions first, then open questions, each with its owner.",
    "code-review": "You review diffs. Report only defects you can name the failing input for.",
    "assistant": "You are a helpful assistant.",
}

DIFF = """Please review this change to the retry loop.

```diff
--- a/shop/retry.py
+++ b/shop/retry.py
@@ -12,9 +12,9 @@ def call(send, attempts=3):
     delay = 0.1
     for attempt in range(attempts):
         try:
-            return send()
+            return send(timeout=delay)
         except TimeoutError:
             if attempt == attempts - 1:
                 raise
-            sleep(delay)
-            delay *= 2
+            delay = min(delay * 2, 5.0)
```
The idea is to stop sleeping between attempts, because the upstream is either up or down."""

REVIEW = """One defect.

**The first attempt now times out after 0.1 s.** `delay` started life as a pause and is passed as `timeout`, \
so every call that takes longer than 100 ms fails once and is sent again. With a median of 310 ms that \
is almost every call: the upstream gets two to three times the load, for the same answers.

Failing input: any `send` that takes 0.15 s. Before the change it returned; now it raises `TimeoutError` on \
attempts 1, succeeds on attempt 2 at the earliest.

```python
def call(send, attempts=3, timeout=30.0):
    for attempt in range(attempts):
        try:
            return send(timeout=timeout)
        except TimeoutError:
            if attempt == attempts - 1:
                raise
```

Dropping the pause also means that three workers which fail together retry together. If the pause is not \
wanted, keep a little jitter: `sleep(random.uniform(0, 0.2))`."""

NOTES = """Weekly, 14 people. Notes by Ines.

- Checkout: the new address form is live for 10 % of visitors since Tuesday. Abandonment 21.4 % (old: 23.9 %).
- Marta wants to go to 50 % tomorrow, Jon asks to wait for the weekend because Saturdays differ.
- Returns: the label service was down twice, 40 minutes in all. Supplier says "capacity". Nobody read the SLA.
- Search: rewriting queries raised the click rate from 31 to 34 %. It costs 38 USD a day. Keep.
- Hiring: two offers out, one accepted. Start 1 February.
- Black Friday: load test on Thursday night, 3x last year. Pager: Ola first, Jon second."""

SUMMARY = """Decisions
- Query rewriting stays: click rate 31 → 34 % for 38 USD a day.
- Load test on Thursday night at three times last year's load; Ola is first on the pager, Jon second.

Open questions
- Address form from 10 to 50 % of visitors: tomorrow or after the weekend? Owner: Marta.
- Do the label service's two outages (40 minutes) break its SLA? Nobody has read it. Owner: none yet.
- One of two offers is unanswered. Owner: none named."""

ORDER_CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_71",
            "type": "function",
            "function": {"name": "get_order", "arguments": '{"order_id":"NB-20418","with_tracking":true}'},
        }
    ],
}
ORDER_DATA = (
    '{"order_id": "NB-20418", "placed": "2026-11-17", "items": [{"sku": "WHL-700C-28", "qty": 2}], '
    '"carrier": "DHL", "tracking": "in transit", "eta": null}'
)

QUESTIONS: dict[str, list[list[dict[str, Any]]]] = {
    "support": [
        [
            {
                "role": "user",
                "content": "Hi, where is my order NB-20418? I need the wheels before Saturday's race.",
            },
            ORDER_CALL,
            {"role": "tool", "tool_call_id": "call_71", "content": ORDER_DATA},
        ],
        [
            {"role": "user", "content": "Passt der Sattel SQ-610 auf eine 27,2er Stütze?"},
            {"role": "assistant", "content": "Ja, der SQ-610 hat Standardstreben von 7 mm."},
            {"role": "user", "content": "Und wie lange kann ich ihn zurückgeben, wenn er drückt?"},
        ],
        [
            {
                "role": "user",
                "content": "I was charged twice for one helmet, 89.00 on the 14th and again on the 15th.",
            }
        ],
    ],
    "search-rewrite": [
        [
            {
                "role": "user",
                "content": "something to keep my hands warm when riding to work in winter, not too thick",
            }
        ],
        [{"role": "user", "content": "kids bike for a tall 6 year old girl, she likes green"}],
        [{"role": "user", "content": "the pump with the gauge you had last year, lezyne i think"}],
    ],
    "summarize": [[{"role": "user", "content": NOTES}]],
    "code-review": [[{"role": "user", "content": DIFF}]],
    "assistant": [
        [{"role": "user", "content": "Write a haiku about an aircraft carrier at night."}],
        [{"role": "user", "content": "What is the capital of Portugal, and what is it known for?"}],
    ],
}

ANSWERS: dict[str, list[dict[str, Any]]] = {
    "support": [
        {
            "role": "assistant",
            "content": "Your two 700C wheels (order NB-20418) are on their way with DHL. They have not "
            "confirmed a day yet, so I cannot promise Saturday. If they have not arrived on Thursday "
            "evening, write to us and we will lend you a pair from the shop in Leith Street.",
        },
        {
            "role": "assistant",
            "content": "Sie können ihn 60 Tage lang zurückgeben, auch gefahren. Legen Sie bitte den Beleg "
            "bei; den Rückversand zahlen wir. Der Betrag ist dann innerhalb von fünf Werktagen wieder auf "
            "Ihrem Konto.",
        },
        {
            "role": "assistant",
            "content": "I am sorry. The payment of the 15th is an authorisation that was never "
            "captured: your bank releases the 89.00 by itself, within three working days. If it "
            "still stands there on the 20th, send us the statement line and we will chase it.",
        },
    ],
    "search-rewrite": [
        {"role": "assistant", "content": "cycling gloves winter thin windproof commuting"},
        {"role": "assistant", "content": "kids bike 20 inch green girl 6 years tall"},
        {"role": "assistant", "content": "Lezyne floor pump gauge"},
    ],
    "summarize": [{"role": "assistant", "content": SUMMARY}],
    "code-review": [{"role": "assistant", "content": REVIEW}],
    "assistant": [
        {
            "role": "assistant",
            "content": "Steel deck under stars,\na hook finds the third cold wire.\nThe sea exhales. Still.",
        },
        {
            "role": "assistant",
            "content": "The capital of Portugal is Lisbon. It is known for its hills, its trams and fado.",
        },
    ],
}
