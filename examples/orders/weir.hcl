# Orders as a shop's webhook tells them: signed, kept, booked by a Lambda handler, and stored once each.

function "webhook" { # called by its URL: POST /functions/webhook
  code        = "functions/webhook"
  handler     = "webhook.handler"
  environment = { SHOP_KEY = secret("SHOP_KEY") } # from WEIR_SECRET_SHOP_KEY
  to          = queue.orders
}

queue "orders" {
  visibility_timeout = "2m" # longer than the handler may take
  max_receives       = 3    # then a message is a dead letter, and the others go on
}

function "book" {
  on      = queue.orders
  code    = "functions/book" # Python, with AWS Lambda Powertools from its requirements.txt
  handler = "book.handler"
  timeout = "20s"
  batch {
    size   = 100
    window = "100ms" # how long a batch waits for more messages
  }
  to     = table.orders
  schema = "order.avsc"
}

table "orders" {
  unique_by    = ["order_id"]
  partition_by = "day(placed_at)"
  freshness    = "2s"
}

schedule "nightly" {
  when     = "cron(0 2 * * ? *)"
  timezone = "Europe/Berlin"
  missed   = "all" # a night that nothing ran is reported in the morning
}

function "report" {
  on      = schedule.nightly
  code    = "functions/report"
  handler = "report.handler"
  to      = table.reports
  schema  = "report.avsc"
}

table "reports" {
  unique_by = ["day", "currency"]
}
