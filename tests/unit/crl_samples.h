/* crl_samples.h - CAs of other kinds, and lists of theirs that name a leaf:
 * made by OpenSSL, valid for 79 years, their keys forgotten but the leaves'. */
#ifndef ZTNA_TESTS_CRL_SAMPLES_H
#define ZTNA_TESTS_CRL_SAMPLES_H

static const struct {
  const char *name, *ca, *cert, *key, *crl;
} crl_samples[] = {
    {
        "rsa",
        "-----BEGIN CERTIFICATE-----\n"
        "MIIDFTCCAf2gAwIBAgIUPeyQejvs2RYXRCNtc0BqhPWWKMswDQYJKoZIhvcNAQEL\n"
        "BQAwETEPMA0GA1UEAwwGcnNhIENBMCAXDTI2MTEyMTIxMTk0MVoYDzIxMDkwMTEw\n"
        "MjExOTQxWjARMQ8wDQYDVQQDDAZyc2EgQ0EwggEiMA0GCSqGSIb3DQEBAQUAA4IB\n"
        "DwAwggEKAoIBAQC2u0Z7qFU67lznYT76/M7WsMESssqJz9Qxp8MuCOazexKWQhAJ\n"
        "CfRWwujcSTHaBEv7EeYdABQGv7Tj7hYdWtbSuRTUb7EzQNiBCMqDbyzQUSmdEwH2\n"
        "oOekjGcdt7L+M4P/xoyk4UpEY+bbp4oJeslwX1JWNJq1SbybCyxb/CbjNwS6jZpr\n"
        "tQpiGPTRQITDD7RfUZtvvevepLfuoCsZI+QCNrYlBAlmfr4ve0yVbLGoGmykc3vh\n"
        "MVDK8ojjILFxA+Lq1jgj6Cn3yQs8w4wkXrndDkvKZcLKPovH2PajQRBQOnliZWey\n"
        "TRR45dExNnBDIoNtq/TqB5+3PPFpXzjAYmQzAgMBAAGjYzBhMB0GA1UdDgQWBBSQ\n"
        "rWOOpqyBADGK6XGE92LGihHOzDAfBgNVHSMEGDAWgBSQrWOOpqyBADGK6XGE92LG\n"
        "ihHOzDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjANBgkqhkiG9w0B\n"
        "AQsFAAOCAQEAnqQq/pkkaWxyhIPl1Nu7YEVcegtsBN+8SxmF74DrJokH49AS+oSY\n"
        "1rRrnJbRc2lbhj3tPTR6jkMa6AbMgdyNe999vReg1bswauHzwLL+AaKBvOdUj7tv\n"
        "G3h57eJ5Ra7M47Io4VH1tyfI+i8eG1mQ7ogkODlRT4SMuPn6Z4UdC8/KhOMEs3bO\n"
        "Ve9HJZLXGeHQX5x6n7JiuJqDnG4xbeaJEv/nJ6SUtPXkX8wyY9c0OKt2b4u0VM6k\n"
        "B6LOOIxOe6frsatOQ3KR9yegOR/0s+gwWDl8+6b1eQ7VzgXVn1ClRnEAOpACprt5\n"
        "yHlKfQIuwUWgt5poacU0fGcs1LZoVdGkpg==\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n"
        "MIICjzCCAXegAwIBAgIUQ2SoXsAVcMyrQtjsZYuQ/a4XqhswDQYJKoZIhvcNAQEL\n"
        "BQAwETEPMA0GA1UEAwwGcnNhIENBMCAXDTI2MTEyMTIxMTk0MloYDzIxMDYwNDE2\n"
        "MjExOTQyWjAWMRQwEgYDVQQKDAtleGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqG\n"
        "SM49AwEHA0IABDBQpTOWVmYWy2RL80RasJKADGHJGYZVBIz1a8P50PtlxmQ3FyQk\n"
        "7XDliM/Oq2io+QbUu+LbT/JNM9g7hW7hHxOjgaIwgZ8wLgYDVR0RBCcwJYYjc3Bp\n"
        "ZmZlOi8vZXhhbXBsZS5vcmcvYWdlbnQvbGFwdG9wLTcwDgYDVR0PAQH/BAQDAgeA\n"
        "MB0GA1UdJQQWMBQGCCsGAQUFBwMCBggrBgEFBQcDATAdBgNVHQ4EFgQUZy9nsFTy\n"
        "JUt30f6nVQXUn+zl29EwHwYDVR0jBBgwFoAUkK1jjqasgQAxiulxhPdixooRzsww\n"
        "DQYJKoZIhvcNAQELBQADggEBABWoNKrdE3mxTQ0sC3/+67oS69MBJCpaOGkV7G6z\n"
        "Gw6p028GxKcKQ94nLoJh7pQKGEZFe2GoZnMbphjMCRFmWKBkybY+LFJKkgWFdIwR\n"
        "r3tc2t2H+e8GvoTuoOxd7eB5DgsB0KIKeNiSnbn9BKvILcVAYQHbImVx78Ikqlka\n"
        "u5d9T7TqVoSu8r0J6Sz47Fn5ofzXa5FG9YYFXvI3l39gu0GaL6dTOBfPLJTyKaGV\n"
        "vtOb0lpNtdWNAX3ezkVPMAFuKodOcBDSOMEVo1fUt6+lPWQBBCK7/vcGYB54xjz4\n"
        "1N2C3OgXRyjShSe9qM1NIOhQCDILOaLLtw4q8MnIhONVffk=\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN EC PRIVATE KEY-----\n"
        "MHcCAQEEIGaPJl+H/t1rcxQMfsYhBgVB0z2QVsbo5JcHlaIlPcV3oAoGCCqGSM49\n"
        "AwEHoUQDQgAEMFClM5ZWZhbLZEvzRFqwkoAMYckZhlUEjPVrw/nQ+2XGZDcXJCTt\n"
        "cOWIz86raKj5BtS74ttP8k0z2DuFbuEfEw==\n"
        "-----END EC PRIVATE KEY-----\n",
        "-----BEGIN X509 CRL-----\n"
        "MIIBozCBjAIBATANBgkqhkiG9w0BAQwFADARMQ8wDQYDVQQDDAZyc2EgQ0EXDTI2\n"
        "MTEyMTIxMTk0MloYDzIxMDkwMTEwMjExOTQyWjA1MDMCFENkqF7AFXDMq0LY7GWL\n"
        "kP2uF6obFw0yNjExMjEyMTE5NDJaMAwwCgYDVR0VBAMKAQGgDjAMMAoGA1UdFAQD\n"
        "AgEBMA0GCSqGSIb3DQEBDAUAA4IBAQBIW1ttiwT3YLd0fdZ8k7DbF0XSqpV1voE2\n"
        "iJb9qWndqUPTX/5LlJrp/rahzk9XlKiUJRk4wq8guiBK1Pf6ihs27y4U3WMpjyx4\n"
        "Lvest07gcu9PyDACTrN8i2yWGRHuAW63qCUOMdwa7gts0vH+Q0G7jEBkYA1q0iqU\n"
        "a4ew+bsMagM7f6sxbxkc/lzevlb5FLJzqG8cf0P3sv++JRofE9MKpuijQ6pTbkeL\n"
        "eUUCrKmxjmjVKjl3vo/s33bwX1EYnbnzPNOdKaVhv/7HullRsW9kQOHdkIUEtrjf\n"
        "TytzKLms3jCZj/NQ15lIgMr6ImfJGH3JXvDH7b19YqiND97pfOWw\n"
        "-----END X509 CRL-----\n",
    },
    {
        "ec384",
        "-----BEGIN CERTIFICATE-----\n"
        "MIIByjCCAVCgAwIBAgIUZiUuuHGNFqRBcEBAMIgYvhsRcCAwCgYIKoZIzj0EAwIw\n"
        "EzERMA8GA1UEAwwIZWMzODQgQ0EwIBcNMjYxMTIxMjExOTQyWhgPMjEwOTAxMTAy\n"
        "MTE5NDJaMBMxETAPBgNVBAMMCGVjMzg0IENBMHYwEAYHKoZIzj0CAQYFK4EEACID\n"
        "YgAEKwIO7tyI5ADC1ZPDMZnWgkYe7xN0gl7dqP6Z/ZjE/vJbc6i3wqj4k3zRvpDb\n"
        "AsWgpsmhJB2BN4tIX38oZbveccSfPG15/arH4XEoX+wWk/Mw3hnjafDpnhxNW7Dn\n"
        "JWYro2MwYTAdBgNVHQ4EFgQUvJsnuK9KRHBJZO/rjaOu2s6g3FEwHwYDVR0jBBgw\n"
        "FoAUvJsnuK9KRHBJZO/rjaOu2s6g3FEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B\n"
        "Af8EBAMCAQYwCgYIKoZIzj0EAwIDaAAwZQIwUClPOngZ4M4Dwz9e0AR6666FURbg\n"
        "nAcern/C49RkyChFj4CrHjpYyHTEM4ZspK7JAjEAolUBMghWIeNaG1zgEPAMbK8P\n"
        "BCnVzp51qr+hUTzdjB1gjARPZrVZC9h6JRU3Thhp\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n"
        "MIIB7zCCAXagAwIBAgIUfpZR5wtFPW14V16NnPx/QZf1jTIwCgYIKoZIzj0EAwIw\n"
        "EzERMA8GA1UEAwwIZWMzODQgQ0EwIBcNMjYxMTIxMjExOTQyWhgPMjEwNjA0MTYy\n"
        "MTE5NDJaMBYxFDASBgNVBAoMC2V4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZI\n"
        "zj0DAQcDQgAEFP2rkfGBHYIbWhpsAp8XKKs2sc7vcg041V1i5UjiStMTTuy9+czM\n"
        "eNjQE+11WS8/OWpIOeJQ7JBARVCXw71TMqOBojCBnzAuBgNVHREEJzAlhiNzcGlm\n"
        "ZmU6Ly9leGFtcGxlLm9yZy9hZ2VudC9sYXB0b3AtNzAOBgNVHQ8BAf8EBAMCB4Aw\n"
        "HQYDVR0lBBYwFAYIKwYBBQUHAwIGCCsGAQUFBwMBMB0GA1UdDgQWBBQ8c3zbLBI5\n"
        "oi0Jhj1C0pRlXPjiNDAfBgNVHSMEGDAWgBS8mye4r0pEcElk7+uNo67azqDcUTAK\n"
        "BggqhkjOPQQDAgNnADBkAjBGzDDQaRNEufMllSwkIAmxNV1ob4ofyaP0x+Pw/qRt\n"
        "5fma3Hcb3DSI6TXI+10rxWgCMBlmbYAnFpJSbo02lpvnMnIf9PMoDDrItnhwMDZU\n"
        "q9pNua5TvDfaKiI8cXRYZHaGFA==\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN EC PRIVATE KEY-----\n"
        "MHcCAQEEIAwM9hmPvU49Z7nlRTStNk6xinmyHKrZTKBVx35awKbLoAoGCCqGSM49\n"
        "AwEHoUQDQgAEFP2rkfGBHYIbWhpsAp8XKKs2sc7vcg041V1i5UjiStMTTuy9+czM\n"
        "eNjQE+11WS8/OWpIOeJQ7JBARVCXw71TMg==\n"
        "-----END EC PRIVATE KEY-----\n",
        "-----BEGIN X509 CRL-----\n"
        "MIIBBDCBiwIBATAKBggqhkjOPQQDAzATMREwDwYDVQQDDAhlYzM4NCBDQRcNMjYx\n"
        "MTIxMjExOTQyWhgPMjEwOTAxMTAyMTE5NDJaMDUwMwIUfpZR5wtFPW14V16NnPx/\n"
        "QZf1jTIXDTI2MTEyMTIxMTk0MlowDDAKBgNVHRUEAwoBAaAOMAwwCgYDVR0UBAMC\n"
        "AQEwCgYIKoZIzj0EAwMDaAAwZQIwaJkzCb6Tp/BKIiumLD2IY6jYSeKaaoEdnIH2\n"
        "pOOGKnZlI9xSF/9rJZY0B8wwKoKkAjEA7qw97wWUFlurN9sXVLq4O2RAMmAAUJGN\n"
        "WZ0ngXwz4zVm5XiFF2ZhTxRftM+7ZWph\n"
        "-----END X509 CRL-----\n",
    },
    {
        "ed25519",
        "-----BEGIN CERTIFICATE-----\n"
        "MIIBUTCCAQOgAwIBAgIUYxYUFujIKqzNyGNFENPin7Op1tgwBQYDK2VwMBUxEzAR\n"
        "BgNVBAMMCmVkMjU1MTkgQ0EwIBcNMjYxMTIxMjExOTQzWhgPMjEwOTAxMTAyMTE5\n"
        "NDNaMBUxEzARBgNVBAMMCmVkMjU1MTkgQ0EwKjAFBgMrZXADIQBKF2Gqx4mV5pKQ\n"
        "ny/HaxCArsc9hsGuXIkQ80iiNZ0B7qNjMGEwHQYDVR0OBBYEFEaAybRept04ueXd\n"
        "iMCiqDESAat7MB8GA1UdIwQYMBaAFEaAybRept04ueXdiMCiqDESAat7MA8GA1Ud\n"
        "EwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMAUGAytlcANBAEpzrS9MQD299CES\n"
        "d6WW4/3s31GpZGh8/1AP12zZcgCf+B6Impm52W7bIfrtqX02F+kD59lhF3usuNw/\n"
        "OdWqggQ=\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n"
        "MIIBwTCCAXOgAwIBAgIUDBx4exjExOIVyOgm6Z9JqQyhPIowBQYDK2VwMBUxEzAR\n"
        "BgNVBAMMCmVkMjU1MTkgQ0EwIBcNMjYxMTIxMjExOTQzWhgPMjEwNjA0MTYyMTE5\n"
        "NDNaMBYxFDASBgNVBAoMC2V4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
        "AQcDQgAEx94gV2JndclgnZlchhK9e1IN4IoimhuddYlFca+8psJrw3VskRThodd+\n"
        "X9cC1WvEc49dFxNfUjtr6/BBmQQpqKOBojCBnzAuBgNVHREEJzAlhiNzcGlmZmU6\n"
        "Ly9leGFtcGxlLm9yZy9hZ2VudC9sYXB0b3AtNzAOBgNVHQ8BAf8EBAMCB4AwHQYD\n"
        "VR0lBBYwFAYIKwYBBQUHAwIGCCsGAQUFBwMBMB0GA1UdDgQWBBS8K6470uVQDdqy\n"
        "cM+qZf+XnDtkSTAfBgNVHSMEGDAWgBRGgMm0XqbdOLnl3YjAoqgxEgGrezAFBgMr\n"
        "ZXADQQA0Z7kgGHYtCuFY7uyEYEJ4RjoP+pUYIPcP8lfGjFDzk4grdLsXMeDsqWQL\n"
        "oUFQzbmniLxGbKQYn3/uje/pGf0K\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN EC PRIVATE KEY-----\n"
        "MHcCAQEEIJu0gb42G//rd5DmfZTFdNzObp9B/XTHA44fzcXIfFbzoAoGCCqGSM49\n"
        "AwEHoUQDQgAEx94gV2JndclgnZlchhK9e1IN4IoimhuddYlFca+8psJrw3VskRTh\n"
        "odd+X9cC1WvEc49dFxNfUjtr6/BBmQQpqA==\n"
        "-----END EC PRIVATE KEY-----\n",
        "-----BEGIN X509 CRL-----\n"
        "MIHVMIGIAgEBMAUGAytlcDAVMRMwEQYDVQQDDAplZDI1NTE5IENBFw0yNjExMjEy\n"
        "MTE5NDNaGA8yMTA5MDExMDIxMTk0M1owNTAzAhQMHHh7GMTE4hXI6Cbpn0mpDKE8\n"
        "ihcNMjYxMTIxMjExOTQzWjAMMAoGA1UdFQQDCgEBoA4wDDAKBgNVHRQEAwIBATAF\n"
        "BgMrZXADQQBOvsOb5ZGkbe+Pru/ojvTXFaaaU0s5TAUbg+Ndm7xJSiufG4ndyBji\n"
        "DBxkLUJbsHiTeJe2FPlDlReqHfP6R1QA\n"
        "-----END X509 CRL-----\n",
    },
};

#endif
