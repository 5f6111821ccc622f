"""How a box gets its certificate: no login, but a token, or the key of the certificate that it has."""

from __future__ import annotations

import math

from fastapi import APIRouter, Request, Response

from village_collector.api.access import address_of
from village_collector.api.deps import Provided
from village_collector.api.problems import Problem
from village_collector.stores.identity_records import EnrolmentRefused, UnknownToken
from village_collector.trust.enrolment import TooOften
from village_collector.trust.signing_requests import InvalidRequest
from village_wire.enrolment import Credentials, EnrolmentRequest, InvalidToken, RenewalRequest

router = APIRouter(tags=["enrolment"])


@router.get("/authority", summary="The authority's certificate", response_class=Response)
def authority(deps: Provided) -> Response:
    """PEM. Compare its fingerprint before you trust it: an enrolment token holds the beginning of it.

    采集端证书颁发机构的证书 (PEM)；信任前请核对指纹。
    """
    return Response(deps.enrolment.certificate, media_type="application/x-pem-file")


@router.post("/enrolments", status_code=201, response_model=Credentials, summary="Enrol a box")
async def enrol(deps: Provided, request: Request, wish: EnrolmentRequest) -> Response:
    """A certificate for a token, which works once; the same key gets the same answer again while the token lives.

    用一次性令牌换取证书；令牌有效期内同一密钥可重复获取相同答复。
    """
    try:
        credentials = await deps.enrolment.enrol(wish, address_of(request))
    except UnknownToken:
        # Whether there ever was such a token is not told.
        raise Problem(403, "the token is unknown or was withdrawn", "enrolment") from None
    except InvalidToken as error:
        raise Problem(422, str(error), "enrolment") from None
    except InvalidRequest as error:
        raise Problem(422, str(error), "bad_request") from None
    except EnrolmentRefused as error:
        raise Problem(403, str(error), "enrolment") from None
    except TooOften as error:
        raise _too_often(error) from None
    return _answer(credentials)


@router.post("/renewals", status_code=201, response_model=Credentials, summary="Renew an agent's certificate")
async def renew(deps: Provided, request: Request, wish: RenewalRequest) -> Response:
    """The next certificate, for a request signed with the key of the present one, which goes on counting.

    用现有证书的密钥签名，换取下一张证书；现有证书继续有效。
    """
    try:
        credentials = await deps.enrolment.renew(wish, address_of(request))
    except InvalidRequest as error:
        raise Problem(422, str(error), "bad_request") from None
    except EnrolmentRefused as error:
        raise Problem(403, str(error), "enrolment") from None
    except TooOften as error:
        raise _too_often(error) from None
    return _answer(credentials)


def _answer(credentials: Credentials) -> Response:
    return Response(credentials.model_dump_json(), 201, media_type="application/json")


def _too_often(error: TooOften) -> Problem:
    problem = Problem(429, str(error), "too_many")
    problem.headers["Retry-After"] = str(math.ceil(error.seconds))
    return problem
