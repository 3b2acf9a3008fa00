# A load balancer's log in a log group.
data "aws_subnets" "default" {
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

resource "aws_lb" "web" {
  name     = "tf-delivered"
  internal = true
  subnets  = slice(sort(data.aws_subnets.default.ids), 0, 2)
}

resource "aws_cloudwatch_log_group" "web" {
  name = "/tf/delivered"
}

resource "aws_cloudwatch_log_delivery_source" "web" {
  name         = "tf-web"
  log_type     = "ALB_ACCESS_LOGS"
  resource_arn = aws_lb.web.arn
  tags         = { Revision = var.revision }
}

resource "aws_cloudwatch_log_delivery_destination" "web" {
  name          = "tf-web"
  output_format = "plain"
  tags          = { Revision = var.revision }

  delivery_destination_configuration {
    destination_resource_arn = aws_cloudwatch_log_group.web.arn
  }
}

resource "aws_cloudwatch_log_delivery_destination_policy" "web" {
  delivery_destination_name = aws_cloudwatch_log_delivery_destination.web.name
  delivery_destination_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Revision${var.revision}"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::000000000000:root" }
      Action    = "logs:CreateDelivery"
      Resource  = aws_cloudwatch_log_delivery_destination.web.arn
    }]
  })
}

resource "aws_cloudwatch_log_delivery" "web" {
  delivery_source_name     = aws_cloudwatch_log_delivery_source.web.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.web.arn
  field_delimiter          = ";"
  record_fields            = ["time", "elb_status_code", "request_line"]
  # The provider of this version cannot change a delivery to a log group: it
  # leaves s3_delivery_configuration unknown.
  tags = { Case = "tf-delivered" }
}
