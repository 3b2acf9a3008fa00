# Everything said in the configuration, as for any endpoint that is not AWS's.
# The provider's endpoints block works as well, but costs it ten seconds of
# thought for each command.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

resource "aws_cloudwatch_log_group" "app" {
  name              = "/tf/app"
  retention_in_days = var.revision > 1 ? 14 : 7
  log_group_class   = "STANDARD"

  tags = {
    Case     = "tf-logs"
    Revision = var.revision
  }
}

resource "aws_cloudwatch_log_group" "forever" {
  name_prefix       = "/tf/forever-"
  retention_in_days = var.revision > 1 ? 0 : 1

  tags = var.revision > 1 ? {} : { Case = "tf-logs" }
}

resource "aws_cloudwatch_log_group" "infrequent" {
  name            = "/tf/infrequent"
  log_group_class = "INFREQUENT_ACCESS"
  skip_destroy    = false
}

resource "aws_cloudwatch_log_stream" "app" {
  name           = "stream"
  log_group_name = aws_cloudwatch_log_group.app.name
}

resource "aws_cloudwatch_query_definition" "errors" {
  name            = "tf/errors"
  log_group_names = var.revision > 1 ? [aws_cloudwatch_log_group.app.name] : []
  query_string    = "fields @timestamp, @message | filter level = 'ERROR' | sort @timestamp desc | limit ${var.revision}0"
}

data "aws_cloudwatch_log_groups" "tf" {
  log_group_name_prefix = "/tf/"
  depends_on            = [aws_cloudwatch_log_group.app, aws_cloudwatch_log_group.forever, aws_cloudwatch_log_group.infrequent]
}

data "aws_cloudwatch_log_group" "app" {
  name = aws_cloudwatch_log_group.app.name
}

# Resources of other services, by their tags.
data "aws_resourcegroupstaggingapi_resources" "case" {
  resource_type_filters = ["logs:log-group", "ssm:parameter"]

  tag_filter {
    key    = "Case"
    values = ["tf-logs", "other"]
  }

  depends_on = [aws_cloudwatch_log_group.app, aws_cloudwatch_log_group.forever, aws_ssm_parameter.case]
}

data "aws_resourcegroupstaggingapi_resources" "listed" {
  resource_arn_list          = [aws_cloudwatch_log_group.app.arn]
  include_compliance_details = true
}

resource "aws_ssm_parameter" "case" {
  name  = "/tf/case"
  type  = "String"
  value = "x"
  tags  = { Case = "other" }
}

output "groups" {
  value = length(data.aws_cloudwatch_log_groups.tf.log_group_names)
}

output "found" {
  value = join(" ", [
    data.aws_cloudwatch_log_group.app.retention_in_days,
    join(",", sort([for m in data.aws_resourcegroupstaggingapi_resources.case.resource_tag_mapping_list : regex("[^:]*$", m.resource_arn)])),
    data.aws_resourcegroupstaggingapi_resources.listed.resource_tag_mapping_list[0].tags["Revision"],
    data.aws_resourcegroupstaggingapi_resources.listed.resource_tag_mapping_list[0].compliance_details[0].compliance_status,
  ])
}
