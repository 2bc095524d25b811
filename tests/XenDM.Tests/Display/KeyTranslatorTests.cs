using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using XenDM.Display;

namespace XenDM.Tests.Display;

public sealed class KeyTranslatorTests : IKeySink
{
    private readonly List<string> _events = [];
    private readonly KeyTranslator _translator;

    public KeyTranslatorTests() => _translator = new KeyTranslator(this);

    void IKeySink.Key(ushort key, bool down) => _events.Add((down ? "" : "-") + key.ToString("x", CultureInfo.InvariantCulture));

    void IKeySink.MenuOpened() => _events.Add("menu");

    void IKeySink.MenuChosen(char choice) => _events.Add(choice == '\u001b' ? "choice none" : $"choice {choice}");

    private string Type(string text)
    {
        _events.Clear();
        _translator.Feed(Encoding.UTF8.GetBytes(text));
        return string.Join(' ', _events);
    }

    [Theory]
    [InlineData("a", "1e -1e")]
    [InlineData("A", "2a 1e -1e -2a")]
    [InlineData("1", "2 -2")]
    [InlineData("!", "2a 2 -2 -2a")]
    [InlineData("\\", "2b -2b")]
    [InlineData("|", "2a 2b -2b -2a")]
    [InlineData("~", "2a 29 -29 -2a")]
    [InlineData("?", "2a 35 -35 -2a")]
    [InlineData("\"", "2a 28 -28 -2a")]
    [InlineData(" ", "39 -39")]
    [InlineData("\r", "1c -1c")]
    [InlineData("\t", "f -f")]
    [InlineData("\u007f", "e -e")]
    [InlineData("\u0003", "1d 2e -2e -1d")]
    [InlineData("\u001a", "1d 2c -2c -1d")]
    [InlineData("\u001c", "1d 2b -2b -1d")]
    [InlineData("\0", "1d 39 -39 -1d")]
    [InlineData("é", "")]
    public void CharactersAreKeysOfAUsKeyboard(string text, string expected) => Assert.Equal(expected, Type(text));

    [Theory]
    [InlineData("[A", "e048 -e048")]
    [InlineData("OB", "e050 -e050")]
    [InlineData("[C", "e04d -e04d")]
    [InlineData("[D", "e04b -e04b")]
    [InlineData("[H", "e047 -e047")]
    [InlineData("OF", "e04f -e04f")]
    [InlineData("[1~", "e047 -e047")]
    [InlineData("[2~", "e052 -e052")]
    [InlineData("[3~", "e053 -e053")]
    [InlineData("[4~", "e04f -e04f")]
    [InlineData("[5~", "e049 -e049")]
    [InlineData("[6~", "e051 -e051")]
    [InlineData("OP", "3b -3b")]
    [InlineData("[[A", "3b -3b")]
    [InlineData("[[E", "3f -3f")]
    [InlineData("[11~", "3b -3b")]
    [InlineData("[15~", "3f -3f")]
    [InlineData("[17~", "40 -40")]
    [InlineData("[21~", "44 -44")]
    [InlineData("[23~", "57 -57")]
    [InlineData("[24~", "58 -58")]
    [InlineData("[Z", "2a f -f -2a")]
    [InlineData("[1;5C", "1d e04d -e04d -1d")]
    [InlineData("[3;3~", "38 e053 -e053 -38")]
    [InlineData("[1;8P", "1d 38 2a 3b -3b -2a -38 -1d")]
    [InlineData("x", "38 2d -2d -38")]
    [InlineData("X", "38 2a 2d -2d -2a -38")]
    [InlineData("\u0003", "1d 38 2e -2e -38 -1d")]
    [InlineData("[99999999999999~", "")]
    [InlineData("[22~", "")]
    [InlineData("[?25h", "")]
    public void SequencesAreKeysWithoutCharacters(string text, string expected)
    {
        Assert.Equal(expected, Type("\u001b" + text));
        Assert.False(_translator.IsWaiting);
        Assert.Equal("1e -1e", Type("a"));
    }

    [Fact]
    public void ASequenceMayComeInPieces()
    {
        foreach (var piece in (string[])["\u001b", "[", "1", "5"]) Assert.Equal("", Type(piece));
        Assert.True(_translator.IsWaiting);
        Assert.Equal("3f -3f", Type("~"));
    }

    [Theory]
    [InlineData("\u001b", "1 -1")]
    [InlineData("\u001b\u001b", "1 -1 1 -1")]
    [InlineData("\u001b[", "38 1a -1a -38")]
    [InlineData("\u001bO", "38 2a 18 -18 -2a -38")]
    [InlineData("\u001b[1", "")]
    [InlineData("a", "1e -1e")]
    public void WhatDoesNotGoOnWasTheKeysThemselves(string text, string expected)
    {
        _events.Clear();
        _translator.Feed(Encoding.ASCII.GetBytes(text));
        _translator.Flush();
        Assert.Equal(expected, string.Join(' ', _events));
        Assert.False(_translator.IsWaiting);
    }

    [Theory]
    [InlineData("\u0001r", "menu choice r")]
    [InlineData("\u0001q", "menu choice q")]
    [InlineData("\u0001a", "menu 1d 1e -1e -1d choice none")]
    [InlineData("\u0001\u0001", "menu 1d 1e -1e -1d choice none")]
    [InlineData("\u0001\u001b", "menu choice none")]
    [InlineData("\u0001sx", "menu choice s 2d -2d")]
    public void CtrlAOpensTheMenu(string text, string expected) => Assert.Equal(expected, Type(text));

    [Fact]
    public void NothingThatATerminalSendsDoesHarm()
    {
        var random = new Random(7);
        var bytes = new byte[64];
        for (var n = 0; n < 2000; n++)
        {
            random.NextBytes(bytes);
            bytes[random.Next(64)] = 0x1b;
            _events.Clear();
            _translator.Feed(bytes);
            if (n % 3 == 0) _translator.Flush();
            foreach (var key in _events)
                if (ushort.TryParse(key, NumberStyles.HexNumber, null, out var code)) Assert.InRange(code & 0xff, 1, 0x58);
        }
    }
}
