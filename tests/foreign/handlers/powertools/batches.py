"""The examples of Powertools' documentation of batch processing, for SQS and Kinesis, with rows beside what they return."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="batches")
of_queue = BatchProcessor(event_type=EventType.SQS)
of_stream = BatchProcessor(event_type=EventType.KinesisDataStreams)


def row(item, source):
    if item["n"] % 7 == 3:
        raise ValueError(f"item {item['n']} is poison")
    return {"n": item["n"], "source": source}


def message(record: SQSRecord):
    return row(record.json_body, record.message_attributes["origin"].string_value if record.message_attributes else "none")


def record(record: KinesisStreamRecord):
    return row(record.kinesis.data_as_json(), record.kinesis.partition_key)


def run(processor, function, event, context):
    with processor(records=event["Records"], handler=function, lambda_context=context):
        results = processor.process()
    rows = [result for status, result, _ in results if status == "success"]
    return {**processor.response(), "records": rows}


@logger.inject_lambda_context
def messages(event: dict, context: LambdaContext):
    return run(of_queue, message, event, context)


@logger.inject_lambda_context
def records(event: dict, context: LambdaContext):
    return run(of_stream, record, event, context)
