# A fleet's readings, pulled every night from a vendor that has no bulk endpoint, and a limit that it does not tell.

variable "vendor" {
  default = "http://127.0.0.1:4600"
}

api "fleet" { # no budget is given: it is learned from what the vendor answers
  base_url = "${var.vendor}/v1"
  auth     = bearer(secret("FLEET_TOKEN")) # from WEIR_SECRET_FLEET_TOKEN
}

crawl "fleet" {
  api      = api.fleet
  schedule = "cron(0 2 * * ? *)"

  resource "group" {
    path          = "/groups"
    data_selector = "items"
    paginator     = "page_number"
  }
  resource "device" { # a call for each group
    path          = "/groups/{resources.group.id}/devices"
    data_selector = "items"
    paginator     = "cursor"
  }
  resource "data_group" { # for each device
    path          = "/devices/{resources.device.id}/data-groups"
    data_selector = "items"
    paginator "offset" { limit = 20 }
  }
  resource "reading" { # for each data group
    path                = "/data-groups/{resources.data_group.id}/readings"
    paginator           = "header_link"
    include_from_parent = ["id", "device", "metric"]
    write_disposition   = "replace" # all at once, and only when everything is there
    to                  = table.readings
    schema              = "reading.avsc"
  }
}

table "readings" {
  sort_by = ["_data_group_id", "at"]
}
