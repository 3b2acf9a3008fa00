# Classic load balancers as people still have them: with instances of their own
# and those of an Auto Scaling group, and policies of every kind.
provider "aws" {}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

resource "aws_security_group" "web" {
  name   = "tf-classic"
  vpc_id = data.aws_vpc.default.id
}

resource "aws_acm_certificate" "web" {
  domain_name       = "classic.example.com"
  validation_method = "DNS"
}

resource "aws_acm_certificate_validation" "web" {
  certificate_arn = aws_acm_certificate.web.arn
}

resource "aws_elb" "web" {
  name            = "tf-classic"
  subnets         = slice(sort(data.aws_subnets.default.ids), 0, var.revision)
  security_groups = [aws_security_group.web.id]

  cross_zone_load_balancing   = var.revision > 1
  connection_draining         = var.revision > 1
  connection_draining_timeout = 60
  idle_timeout                = 30 * var.revision
  desync_mitigation_mode      = var.revision > 1 ? "strictest" : "defensive"

  listener {
    lb_port           = 80
    lb_protocol       = "http"
    instance_port     = 8080
    instance_protocol = "http"
  }

  listener {
    lb_port            = 443
    lb_protocol        = "https"
    instance_port      = 8080
    instance_protocol  = "http"
    ssl_certificate_id = aws_acm_certificate_validation.web.certificate_arn
  }

  listener {
    lb_port           = 6379 + var.revision
    lb_protocol       = "tcp"
    instance_port     = 6379
    instance_protocol = "tcp"
  }

  health_check {
    target              = var.revision > 1 ? "HTTP:8080/health" : "TCP:8080"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  access_logs {
    bucket        = aws_s3_bucket_policy.logs.bucket
    bucket_prefix = "classic"
    interval      = var.revision > 1 ? 5 : 60
    enabled       = true
  }

  tags = {
    Revision = var.revision
  }
}

# In the zones of the default VPC, with what is left out as AWS has it.
resource "aws_elb" "plain" {
  name_prefix        = "tfc-"
  internal           = true
  availability_zones = ["us-east-1a", "us-east-1b"]

  # Encrypted on both sides.
  listener {
    lb_port            = 8443
    lb_protocol        = "ssl"
    instance_port      = 8443
    instance_protocol  = "ssl"
    ssl_certificate_id = aws_acm_certificate_validation.web.certificate_arn
  }

  listener {
    lb_port           = 80
    lb_protocol       = "http"
    instance_port     = 80
    instance_protocol = "http"
  }
}

resource "aws_instance" "one" {
  ami           = data.aws_ssm_parameter.image.insecure_value
  instance_type = "t3.micro"
  subnet_id     = sort(data.aws_subnets.default.ids)[0]
}

resource "aws_elb_attachment" "one" {
  elb      = aws_elb.web.id
  instance = aws_instance.one.id
}

resource "aws_lb_cookie_stickiness_policy" "session" {
  name          = "tf-session"
  load_balancer = aws_elb.plain.id
  lb_port       = 80
}

resource "aws_app_cookie_stickiness_policy" "app" {
  name          = "tf-app"
  load_balancer = aws_elb.web.name
  lb_port       = 80
  cookie_name   = "JSESSIONID"
}

resource "aws_load_balancer_policy" "tls" {
  load_balancer_name = aws_elb.web.name
  policy_name        = "tf-tls"
  policy_type_name   = "SSLNegotiationPolicyType"

  policy_attribute {
    name  = "Reference-Security-Policy"
    value = var.revision > 1 ? "ELBSecurityPolicy-TLS-1-2-2017-01" : "ELBSecurityPolicy-TLS-1-1-2017-01"
  }
}

resource "aws_load_balancer_listener_policy" "tls" {
  load_balancer_name = aws_elb.web.name
  load_balancer_port = 443
  policy_names       = [aws_load_balancer_policy.tls.policy_name]
}

resource "aws_proxy_protocol_policy" "redis" {
  load_balancer  = aws_elb.web.name
  instance_ports = ["6379"]
}

resource "aws_lb_ssl_negotiation_policy" "strict" {
  name          = "tf-strict"
  load_balancer = aws_elb.plain.id
  lb_port       = 8443

  attribute {
    name  = "Protocol-TLSv1.2"
    value = "true"
  }

  attribute {
    name  = "Server-Defined-Cipher-Order"
    value = "true"
  }

  attribute {
    name  = "ECDHE-RSA-AES128-GCM-SHA256"
    value = "true"
  }
}

# Instances that must have a key.
resource "aws_load_balancer_policy" "key" {
  load_balancer_name = aws_elb.plain.name
  policy_name        = "tf-key"
  policy_type_name   = "PublicKeyPolicyType"

  policy_attribute {
    name  = "PublicKey"
    value = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyTWldmvg1jGgtl04+HTdJ/bhihUcL7PC+T7Rgj3UFt3dXHm4evgbevctLqTTjGXeSVNzFBoHN70LtxN+nExQi/R4Pp+SJUeoZCGSEWoN7epZA7zw/Tg9J/lEqDMeidSncawOV+DC+eYqtAAlnoYT3yPCaIqoINgqUd6qchnj4XSBG4Jg+q6IPPgyFCUfcrCJNgz9Wqc4SSa42kGLPHkN5xJFuCG5F0coooGjZuYr8/nRX0iwJkTXrrspXcsJT1d2Hh0CsbKBo/BL7OIST+MPYJEgyxwhZNpHZQPIKYPNDakdHmU3npPT+9B19ySYjH8pLqwY7YeVVEtk08KjQs2UQQIDAQAB"
  }
}

resource "aws_load_balancer_policy" "trusted" {
  load_balancer_name = aws_elb.plain.name
  policy_name        = "tf-trusted"
  policy_type_name   = "BackendServerAuthenticationPolicyType"

  policy_attribute {
    name  = "PublicKeyPolicyName"
    value = aws_load_balancer_policy.key.policy_name
  }
}

resource "aws_load_balancer_backend_server_policy" "trusted" {
  load_balancer_name = aws_elb.plain.name
  instance_port      = 8443
  policy_names       = [aws_load_balancer_policy.trusted.policy_name]
}

resource "aws_s3_bucket" "logs" {
  bucket        = "tf-classic-logs"
  force_destroy = true
}

data "aws_elb_service_account" "here" {}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.bucket
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = data.aws_elb_service_account.here.arn }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.logs.arn}/classic/*"
    }]
  })
}

resource "aws_launch_template" "node" {
  name          = "tf-classic"
  image_id      = data.aws_ssm_parameter.image.insecure_value
  instance_type = "t3.micro"
}

resource "aws_autoscaling_group" "nodes" {
  name                      = "tf-classic"
  min_size                  = 0
  max_size                  = 2
  desired_capacity          = 1
  vpc_zone_identifier       = [sort(data.aws_subnets.default.ids)[0]]
  health_check_type         = "ELB"
  load_balancers            = var.revision > 1 ? [aws_elb.plain.name] : []
  wait_for_capacity_timeout = "2m"
  force_delete              = true

  launch_template {
    id      = aws_launch_template.node.id
    version = "$Latest"
  }
}

data "aws_elb" "web" {
  name       = aws_elb.web.name
  depends_on = [aws_elb_attachment.one]
}

output "dns_name" {
  value = aws_elb.web.dns_name
}

output "found" {
  value = "${data.aws_elb.web.idle_timeout} ${data.aws_elb.web.health_check[0].target} ${aws_elb.web.source_security_group_id == aws_security_group.web.id}"
}
