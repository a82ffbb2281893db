"""Books orders. A handler as it runs on AWS Lambda behind SQS, with the batch processor, parser and logger of Powertools."""

from datetime import datetime
from decimal import Decimal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.parser import BaseModel
from aws_lambda_powertools.utilities.parser.models import SqsRecordModel
from aws_lambda_powertools.utilities.parser.types import Json

logger = Logger(service="orders")

# What one unit is in euros.
RATES = {"EUR": Decimal("1"), "USD": Decimal("0.92"), "GBP": Decimal("1.17")}


class Order(BaseModel):
    id: str
    placed_at: datetime
    customer: str
    currency: str
    amount: str
    items: list[dict]


class OrderRecord(SqsRecordModel):
    body: Json[Order]


processor = BatchProcessor(event_type=EventType.SQS, model=OrderRecord)


def book(record: OrderRecord):
    order = record.body
    amount = Decimal(order.amount)
    if order.currency not in RATES:
        raise ValueError(f"nobody knows the currency {order.currency}")
    logger.info("booked", order_id=order.id)
    return {
        "order_id": order.id,
        "placed_at": order.placed_at.isoformat(),
        "customer": order.customer,
        "currency": order.currency,
        "amount": f"{amount:.2f}",
        "amount_eur": f"{amount * RATES[order.currency]:.2f}",
        "lines": len(order.items),
    }


@logger.inject_lambda_context
def handler(event, context):
    with processor(records=event["Records"], handler=book, lambda_context=context):
        results = processor.process()
    booked = [row for status, row, _ in results if status == "success"]
    # AWS's form says which messages failed; `records` are the rows for the table.
    return {**processor.response(), "records": booked}
