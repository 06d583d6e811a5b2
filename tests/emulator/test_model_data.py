import pytest

from emulator.model_data import ModelData


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


@pytest.mark.parametrize(
    "url", ["bucket/models", "ftp://bucket/models", "https://example.com/bucket", "s3://", "file://x/y"]
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of model data") as caught:
        ModelData.parse(url)
    assert repr(url) in str(caught.value)
