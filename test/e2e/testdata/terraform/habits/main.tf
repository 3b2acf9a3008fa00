# What the widely used modules for VPCs, load balancers and ECS set besides.
provider "aws" {}

resource "aws_default_vpc" "default" {
  tags = {
    Name = "default"
  }
}

resource "aws_default_subnet" "a" {
  availability_zone = "us-east-1a"

  tags = {
    Revision = var.revision
  }
}

resource "aws_default_subnet" "b" {
  availability_zone = "us-east-1b"
}

# Without tags: the provider forgets those that it takes over with.
resource "aws_default_vpc_dhcp_options" "default" {}

resource "aws_vpc" "main" {
  cidr_block = "10.30.0.0/16"
}

resource "aws_route_table" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_main_route_table_association" "main" {
  vpc_id         = aws_vpc.main.id
  route_table_id = aws_route_table.main.id
}

resource "aws_subnet" "main" {
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.30.1.0/24"
  availability_zone = "us-east-1a"
}

resource "aws_network_acl" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_network_acl_association" "main" {
  network_acl_id = aws_network_acl.main.id
  subnet_id      = aws_subnet.main.id
}

resource "aws_security_group" "app" {
  name_prefix            = "tf-habits-"
  vpc_id                 = aws_default_vpc.default.id
  revoke_rules_on_delete = true

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "list" {
  for_each          = toset(["10.0.0.0/8", "192.168.0.0/16"])
  security_group_id = aws_security_group.app.id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "v6" {
  security_group_id = aws_security_group.app.id
  cidr_ipv6         = "::/0"
  ip_protocol       = "-1"
}

resource "aws_lb" "app" {
  name                                        = "tf-habits"
  subnets                                     = [aws_default_subnet.a.id, aws_default_subnet.b.id]
  security_groups                             = [aws_security_group.app.id]
  drop_invalid_header_fields                  = true
  preserve_host_header                        = true
  enable_http2                                = true
  enable_deletion_protection                  = false
  enable_cross_zone_load_balancing            = true
  enable_tls_version_and_cipher_suite_headers = false
  enable_xff_client_port                      = false
  desync_mitigation_mode                      = "defensive"
  xff_header_processing_mode                  = "append"
  client_keep_alive                           = 3600
}

resource "aws_lb_target_group" "app" {
  name_prefix                       = "hab-"
  port                              = 80
  protocol                          = "HTTP"
  protocol_version                  = "HTTP1"
  target_type                       = "ip"
  vpc_id                            = aws_default_vpc.default.id
  load_balancing_algorithm_type     = var.revision > 1 ? "least_outstanding_requests" : "round_robin"
  load_balancing_cross_zone_enabled = "use_load_balancer_configuration"
  slow_start                        = 0

  health_check {
    enabled  = true
    protocol = "HTTP"
    port     = "traffic-port"
    path     = "/"
    matcher  = "200,301-302"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "app" {
  load_balancer_arn = aws_lb.app.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    order            = 1
    type             = "forward"
    target_group_arn = aws_lb_target_group.app.arn
  }
}

resource "aws_iam_role" "app" {
  name_prefix           = "tf-habits-"
  force_detach_policies = true
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}
