provider "aws" {}

variable "authorities" {
  type = list(string)
}

variable "revoked" {
  type = string
}

variable "certificate" {
  type = object({ certificate = string, private_key = string, chain = string })
}

data "aws_subnets" "default" {
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

resource "aws_s3_bucket" "trust" {
  bucket = "tf-trust"
}

resource "aws_s3_object" "authorities" {
  count   = 2
  bucket  = aws_s3_bucket.trust.id
  key     = "authorities-${count.index + 1}.pem"
  content = var.authorities[count.index]
}

resource "aws_s3_object" "revoked" {
  bucket  = aws_s3_bucket.trust.id
  key     = "revoked.pem"
  content = var.revoked
}

# Each revision trusts other authorities.
resource "aws_lb_trust_store" "clients" {
  name                             = "tf-clients"
  ca_certificates_bundle_s3_bucket = aws_s3_bucket.trust.id
  ca_certificates_bundle_s3_key    = aws_s3_object.authorities[var.revision - 1].key
  tags                             = { Name = "clients" }
}

resource "aws_lb_trust_store_revocation" "clients" {
  trust_store_arn       = aws_lb_trust_store.clients.arn
  revocations_s3_bucket = aws_s3_bucket.trust.id
  revocations_s3_key    = aws_s3_object.revoked.key
}

resource "aws_acm_certificate" "own" {
  certificate_body  = var.certificate.certificate
  private_key       = var.certificate.private_key
  certificate_chain = var.certificate.chain
}

resource "aws_lb" "web" {
  name    = "tf-mutual"
  subnets = data.aws_subnets.default.ids
}

resource "aws_lb_listener" "verified" {
  load_balancer_arn = aws_lb.web.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate.own.arn

  mutual_authentication {
    mode                             = "verify"
    trust_store_arn                  = aws_lb_trust_store.clients.arn
    ignore_client_certificate_expiry = var.revision > 1
    advertise_trust_store_ca_names   = var.revision > 1 ? "on" : "off"
  }

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "200"
    }
  }
}

resource "aws_lb_listener" "passed" {
  load_balancer_arn = aws_lb.web.arn
  port              = 8443
  protocol          = "HTTPS"
  certificate_arn   = aws_acm_certificate.own.arn

  routing_http_request_x_amzn_mtls_clientcert_header_name               = var.revision > 1 ? "X-Client" : null
  routing_http_request_x_amzn_mtls_clientcert_serial_number_header_name = "X-Client-Serial"
  routing_http_request_x_amzn_mtls_clientcert_issuer_header_name        = "X-Client-Issuer"
  routing_http_request_x_amzn_mtls_clientcert_subject_header_name       = "X-Client-Subject"
  routing_http_request_x_amzn_mtls_clientcert_validity_header_name      = "X-Client-Validity"
  routing_http_request_x_amzn_mtls_clientcert_leaf_header_name          = "X-Client-Leaf"
  routing_http_request_x_amzn_tls_cipher_suite_header_name              = "X-Suite"

  mutual_authentication {
    mode = "passthrough"
  }

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "200"
    }
  }
}

data "aws_lb_trust_store" "clients" {
  name       = aws_lb_trust_store.clients.name
  depends_on = [aws_lb_trust_store_revocation.clients]
}

output "trust_store" {
  value = data.aws_lb_trust_store.clients.arn
}
