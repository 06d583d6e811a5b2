import pytest

from polyhost.model_cache.errors import ModelDataMissingError
from polyhost.model_cache.model_url import ModelData


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/models/many/",
        "https://s3-ap-northeast-2.amazonaws.com/bucket/models/many/",
        "https://s3.ap-northeast-2.amazonaws.com/bucket/models/many/",
        "https://s3.amazonaws.com/bucket/models/many/",
        "https://bucket.s3.ap-northeast-2.amazonaws.com/models/many/",
        "https://bucket.s3-ap-northeast-2.amazonaws.com/models/many/",
        "https://bucket.s3.amazonaws.com/models/many/",
    ],
)
def test_every_form_is_the_same_prefix(url: str) -> None:
    data = ModelData.parse(url)
    assert data == ModelData("bucket", "models/many/")
    assert str(data.join("sub/a.tar.gz")) == "s3://bucket/models/many/sub/a.tar.gz"


def test_a_folder_of_this_machine() -> None:
    assert str(ModelData.parse("file:///srv/models/").join("a.tar.gz")) == "file:///srv/models/a.tar.gz"


@pytest.mark.parametrize("key", ["a%20b/c", "a b/ü", "what?/#1/", "a//b/", "100%/"])
def test_an_s3_uri_is_literal(key: str) -> None:
    data = ModelData.parse(f"s3://bucket/{key}")
    assert data == ModelData("bucket", key)
    assert ModelData.parse(str(data)) == data


def test_other_addresses_are_percent_encoded() -> None:
    assert ModelData.parse("https://s3.amazonaws.com/bucket/a%20b/%231/") == ModelData("bucket", "a b/#1/")
    for path in ("/srv/a b/", "/srv/100%/", "/srv/what?/#1/"):
        assert ModelData.parse(str(ModelData(None, path))) == ModelData(None, path)
    assert ModelData.parse("file:///srv/what?/#1/") == ModelData(None, "/srv/what?/#1/")


@pytest.mark.parametrize("target", ["../outside.tar.gz", "a/../../outside.tar.gz", "/../outside.tar.gz", ".."])
def test_no_target_leads_out_of_a_folder(target: str) -> None:
    with pytest.raises(ModelDataMissingError, match="leads out of file:///srv/models/"):
        ModelData.parse("file:///srv/models/").join(target)
    assert ModelData("bucket", "models/").join("../odd").key == "models/../odd"


@pytest.mark.parametrize(
    "url", ["bucket/models", "ftp://bucket/models", "https://example.com/bucket", "s3://", "file://x/y"]
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of model data") as caught:
        ModelData.parse(url)
    assert repr(url) in str(caught.value)
