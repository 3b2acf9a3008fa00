provider "aws" {}

variable "certificates" {
  type = list(object({ certificate = string, private_key = string, chain = string }))
}

# Each revision imports another certificate under the same ARN.
resource "aws_acm_certificate" "imported" {
  certificate_body  = var.certificates[var.revision - 1].certificate
  private_key       = var.certificates[var.revision - 1].private_key
  certificate_chain = var.certificates[var.revision - 1].chain
  tags              = { Revision = var.revision }
}

resource "aws_acm_certificate" "requested" {
  domain_name               = "tf.example.com"
  subject_alternative_names = ["*.tf.example.com", "tf.example.org"]
  validation_method         = "DNS"
  key_algorithm             = "EC_prime256v1"
  tags                      = { Revision = var.revision }

  options {
    certificate_transparency_logging_preference = var.revision > 1 ? "DISABLED" : "ENABLED"
  }
}

resource "aws_acm_certificate_validation" "requested" {
  certificate_arn         = aws_acm_certificate.requested.arn
  validation_record_fqdns = distinct([for o in aws_acm_certificate.requested.domain_validation_options : o.resource_record_name])
}

resource "aws_acm_certificate" "mailed" {
  domain_name       = "app.tf.localhost"
  validation_method = "EMAIL"

  validation_option {
    domain_name       = "app.tf.localhost"
    validation_domain = "tf.localhost"
  }
}

data "aws_acm_certificate" "requested" {
  domain      = aws_acm_certificate.requested.domain_name
  types       = ["AMAZON_ISSUED"]
  statuses    = ["ISSUED"]
  key_types   = ["EC_prime256v1"]
  most_recent = true
  depends_on  = [aws_acm_certificate_validation.requested]
}

output "lookups" {
  value = join(" ", [
    data.aws_acm_certificate.requested.arn == aws_acm_certificate.requested.arn,
    data.aws_acm_certificate.requested.status,
    length(regexall("BEGIN CERTIFICATE", data.aws_acm_certificate.requested.certificate_chain)),
    aws_acm_certificate.imported.domain_name,
    length(aws_acm_certificate.requested.domain_validation_options),
    length(aws_acm_certificate.mailed.validation_emails) > 0,
  ])
}
