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

data "aws_subnet" "first" {
  id = sort(data.aws_subnets.default.ids)[0]
}

resource "aws_eip" "static" {
  domain = "vpc"
}

resource "aws_security_group" "net" {
  name   = "tf-net"
  vpc_id = data.aws_vpc.default.id
}

# With an address of one's own.
resource "aws_lb" "facing" {
  name                             = "tf-net"
  load_balancer_type               = "network"
  enable_cross_zone_load_balancing = var.revision > 1
  security_groups                  = [aws_security_group.net.id]
  ip_address_type                  = "ipv4"
  enable_deletion_protection       = false
  dns_record_client_routing_policy = var.revision > 1 ? "partial_availability_zone_affinity" : "availability_zone_affinity"

  enforce_security_group_inbound_rules_on_private_link_traffic = "on"

  subnet_mapping {
    subnet_id     = data.aws_subnet.first.id
    allocation_id = aws_eip.static.id
  }

  tags = {
    Revision = var.revision
  }
}

# Without security groups, at a chosen private address.
resource "aws_lb" "internal" {
  name               = "tf-net-internal"
  load_balancer_type = "network"
  internal           = true

  subnet_mapping {
    subnet_id            = data.aws_subnet.first.id
    private_ipv4_address = cidrhost(data.aws_subnet.first.cidr_block, 77)
  }
}

resource "aws_lb_target_group" "tcp" {
  name                   = "tf-net-tcp"
  port                   = 6379
  protocol               = "TCP"
  target_type            = "ip"
  vpc_id                 = data.aws_vpc.default.id
  deregistration_delay   = var.revision > 1 ? 30 : 300
  connection_termination = var.revision > 1
  preserve_client_ip     = var.revision > 1

  health_check {
    protocol            = "TCP"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  stickiness {
    enabled = var.revision > 1
    type    = "source_ip"
  }
}

resource "aws_lb_target_group" "udp" {
  name     = "tf-net-udp"
  port     = 53
  protocol = "UDP"
  vpc_id   = data.aws_vpc.default.id

  health_check {
    protocol = "HTTP"
    path     = "/health"
    port     = 8080
  }
}

resource "aws_lb_target_group" "both" {
  name        = "tf-net-both"
  port        = 53
  protocol    = "TCP_UDP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_lb_target_group_attachment" "tcp" {
  target_group_arn = aws_lb_target_group.tcp.arn
  target_id        = cidrhost(data.aws_subnet.first.cidr_block, 200)
}

resource "aws_lb_listener" "tcp" {
  load_balancer_arn = aws_lb.facing.arn
  port              = var.revision > 1 ? 6380 : 6379
  protocol          = "TCP"

  # Clients keep to a group, and then to a target of the one that binds them.
  default_action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.tcp.arn
        weight = 90
      }
      target_group {
        arn    = aws_lb_target_group.plain.arn
        weight = var.revision > 1 ? 0 : 10
      }
      stickiness {
        enabled  = true
        duration = 3600
      }
    }
  }
}

resource "aws_lb_listener" "udp" {
  load_balancer_arn = aws_lb.internal.arn
  port              = 53
  protocol          = "UDP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.udp.arn
  }
}

# What the kernel does not carry by itself, with groups that share it.
resource "aws_acm_certificate" "net" {
  domain_name       = "net.example.com"
  validation_method = "DNS"
}

resource "aws_acm_certificate_validation" "net" {
  certificate_arn         = aws_acm_certificate.net.arn
  validation_record_fqdns = [for o in aws_acm_certificate.net.domain_validation_options : o.resource_record_name]
}

resource "aws_lb_target_group" "tls" {
  name              = "tf-net-tls"
  port              = 8443
  protocol          = "TLS"
  target_type       = "ip"
  vpc_id            = data.aws_vpc.default.id
  proxy_protocol_v2 = var.revision > 1

  health_check {
    protocol = "HTTPS"
    path     = "/health"
    matcher  = "200-599"
  }

  target_health_state {
    enable_unhealthy_connection_termination = false
    unhealthy_draining_interval             = var.revision > 1 ? 600 : 60
  }

  target_group_health {
    dns_failover {
      minimum_healthy_targets_count      = "2"
      minimum_healthy_targets_percentage = "off"
    }
    unhealthy_state_routing {
      minimum_healthy_targets_count      = 1
      minimum_healthy_targets_percentage = "off"
    }
  }
}

resource "aws_lb_target_group" "plain" {
  name        = "tf-net-plain"
  port        = 8080
  protocol    = "TCP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_lb_target_group" "next" {
  name     = "tf-net-next"
  port     = 8443
  protocol = "TLS"
  vpc_id   = data.aws_vpc.default.id
}

resource "aws_lb_listener" "tls" {
  load_balancer_arn = aws_lb.facing.arn
  port              = 443
  protocol          = "TLS"
  certificate_arn   = aws_acm_certificate_validation.net.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  alpn_policy       = var.revision > 1 ? "HTTP2Optional" : "HTTP2Preferred"

  default_action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.tls.arn
        weight = var.revision > 1 ? 10 : 90
      }
      target_group {
        arn    = aws_lb_target_group.next.arn
        weight = var.revision > 1 ? 90 : 10
      }
    }
  }
}

# An application load balancer behind a network load balancer.
resource "aws_lb" "inner" {
  name     = "tf-net-inner"
  internal = true
  subnets  = data.aws_subnets.default.ids
}

resource "aws_lb_listener" "inner" {
  load_balancer_arn = aws_lb.inner.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "200"
    }
  }
}

resource "aws_lb_target_group" "alb" {
  name        = "tf-net-alb"
  port        = 80
  protocol    = "TCP"
  target_type = "alb"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_lb_target_group_attachment" "alb" {
  target_group_arn = aws_lb_target_group.alb.arn
  target_id        = aws_lb_listener.inner.load_balancer_arn
}

resource "aws_lb_listener" "alb" {
  load_balancer_arn        = aws_lb.facing.arn
  port                     = 80
  protocol                 = "TCP"
  tcp_idle_timeout_seconds = var.revision > 1 ? 6000 : 60

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.alb.arn
  }
}

resource "aws_lb_listener" "both" {
  load_balancer_arn = aws_lb.internal.arn
  port              = 5353
  protocol          = "TCP_UDP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.both.arn
  }
}

output "dns_name" {
  value = aws_lb.facing.dns_name
}
