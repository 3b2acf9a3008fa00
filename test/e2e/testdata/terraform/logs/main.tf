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

  tags = {
    Revision = var.revision
  }
}

resource "aws_cloudwatch_log_group" "forever" {
  name_prefix = "/tf/forever-"
}

resource "aws_cloudwatch_log_stream" "app" {
  name           = "stream"
  log_group_name = aws_cloudwatch_log_group.app.name
}

data "aws_cloudwatch_log_groups" "tf" {
  log_group_name_prefix = "/tf/"
  depends_on            = [aws_cloudwatch_log_group.app, aws_cloudwatch_log_group.forever]
}

output "groups" {
  value = length(data.aws_cloudwatch_log_groups.tf.log_group_names)
}
