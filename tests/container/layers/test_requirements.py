import pytest

from polyhost.container.layers import requirements
from polyhost.container.layers.errors import BadRequirementsError
from polyhost.container.layers.needs import MAX_FILE, Needs

HASH = "sha256:" + "0123456789abcdef" * 4


def parsed(text: str | bytes) -> list[str]:
    content = text.encode() if isinstance(text, str) else text
    return requirements.parse(Needs((("code/requirements.txt", content),)))


def test_what_is_alike_is_written_alike() -> None:
    first = parsed("# ours\nHumanize == 4.9.0  # a comment\n\nscikit_learn>=1.2,<2\n")
    second = parsed("\ufeffscikit-learn<2, >=1.2\r\nhumanize==4.9.0\r\nHUMANIZE==4.9.0")
    assert first == second == ["humanize==4.9.0", "scikit-learn<2,>=1.2"]


def test_both_files_count() -> None:
    needs = Needs((("code/requirements.txt", b"b\n"), ("requirements.txt", b"a\nb\n")))
    assert requirements.parse(needs) == ["a", "b"]


def test_extras_markers_and_hashes() -> None:
    text = f'uvicorn[standard] >=0.3 ; python_version < "3.12" \\\n    --hash={HASH} \\\n    --hash={HASH}\n'
    assert parsed(text) == [f'uvicorn[standard]>=0.3; python_version < "3.12" --hash={HASH}']


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-r ../../other/requirements.txt", "-r is not allowed in an archive; write its requirements into this file"),
        ("--requirement=/etc/passwd", "--requirement"),
        ("-c /etc/passwd", "-c is not allowed"),
        ("-e .", "-e is not allowed in an archive; put the package's folder under code/"),
        ("-e git+https://example.com/x.git#egg=x", "-e is not allowed"),
        ("--index-url https://example.com/simple", "UV_DEFAULT_INDEX"),
        ("--extra-index-url=https://example.com/simple", "UV_DEFAULT_INDEX"),
        ("--find-links /models", "UV_DEFAULT_INDEX"),
        ("--trusted-host example.com", "--trusted-host"),
        ("--no-binary :all:", "packages are installed from wheels alone"),
        ("--pre", "name the version of the pre-release"),
        ("humanize --config-settings=x=y", "--config-settings is not allowed"),
        ("humanize --hash=md5:0123", "--hash is not allowed"),
        ("./wheels/x-1.0-py3-none-any.whl", "put the wheel into code/wheels/ and write NAME==VERSION"),
        ("../../x", "put the wheel into code/wheels/"),
        ("/opt/ml/models/other/model/x-1.0-py3-none-any.whl", "put the wheel into code/wheels/"),
        ("x-1.0-py3-none-any.whl", "put the wheel into code/wheels/"),
        ("https://example.com/x-1.0-py3-none-any.whl", "put the wheel into code/wheels/"),
        ("file:///etc/passwd", "put the wheel into code/wheels/"),
        ("x @ https://example.com/x-1.0-py3-none-any.whl", "put the wheel into code/wheels/"),
        ("x @ file:///etc/passwd", "put the wheel into code/wheels/"),
        ("git+ssh://git@example.com/x.git", "put the wheel into code/wheels/"),
        ("${AWS_SECRET_ACCESS_KEY}", "variables are not allowed"),
        ('x; platform_version == "${TOKEN}"', "variables are not allowed"),
        ("import os; os.system('touch /tmp/x')", "write NAME==VERSION"),
        ("humanize==", "write NAME==VERSION"),
        ("x" * 5000 + " y", "write NAME==VERSION"),
        ("\0", "write NAME==VERSION"),
        ("x; " + "(" * 20_000 + "python_version > '3'" + ")" * 20_000, "write NAME==VERSION"),
    ],
)
def test_nothing_else_is_allowed(line: str, words: str) -> None:
    with pytest.raises(BadRequirementsError) as raised:
        parsed(f"humanize\n\n{line}\n")
    assert str(raised.value).startswith("code/requirements.txt, line 3: ")
    assert words in str(raised.value)
    assert len(str(raised.value)) < 500


def test_size_and_encoding() -> None:
    with pytest.raises(BadRequirementsError, match="more than 65536 bytes"):
        parsed(b"#" * (MAX_FILE + 1))
    with pytest.raises(BadRequirementsError, match="not UTF-8"):
        parsed(b"\xff\xfeh")
    with pytest.raises(BadRequirementsError, match="asks for 1001 packages"):
        parsed("".join(f"p{number}\n" for number in range(1001)))
