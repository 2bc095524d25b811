using System;
using System.Diagnostics;
using System.IO;
using XenDM.Testing;
using XenDM.Vnc.Keymaps;

namespace XenDM.Vnc.Tests.Keymaps;

public sealed class KeymapTests
{
    public static TheoryData<string> AllNames => [.. Keymap.Names];

    [Fact]
    public void Names_AreThoseOfQemu_AndMore()
    {
        string[] qemu =
        [
            "ar", "bepo", "cz", "da", "de", "de-ch", "en-gb", "en-us", "es", "et", "fi", "fo", "fr", "fr-be", "fr-ca", "fr-ch", "hr", "hu", "is", "it", "ja", "lt", "lv", "mk",
            "nl", "no", "pl", "pt", "pt-br", "ru", "sl", "sv", "th", "tr",
        ];
        foreach (var name in qemu) Assert.Equal(name, Keymap.Load(name).Name);
        Assert.Equal(Keymap.Default, Keymap.Names[0]);
        var error = Assert.Throws<ArgumentException>(static () => Keymap.Load("klingon"));
        Assert.StartsWith("there is no keyboard layout 'klingon'; there are en-us, en-gb, ar, ", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(static () => Keymap.Load(""));
        Assert.Throws<ArgumentException>(static () => Keymap.Load("EN-US"));
    }

    /// <summary>What is printed on the keys, row by row from the left: digits from code 02, then 10, 1e and 2c on.</summary>
    [Theory]
    [InlineData("en-us", "1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")]
    [InlineData("en-us", "!@#$%^&*()_+", "QWERTYUIOP{}", "ASDFGHJKL:\"", "ZXCVBNM<>?", KeyNeeds.Shift)]
    [InlineData("en-gb", "!\"£$%^&*()_+", "QWERTYUIOP{}", "ASDFGHJKL:@", "ZXCVBNM<>?", KeyNeeds.Shift)]
    [InlineData("de", "1234567890ß", "qwertzuiopü+", "asdfghjklöä", "yxcvbnm,.-")]
    [InlineData("de", "!\"§$%&/()=?", "QWERTZUIOPÜ*", "ASDFGHJKLÖÄ", "YXCVBNM;:_", KeyNeeds.Shift)]
    [InlineData("de-ch", "1234567890'", "qwertzuiopü", "asdfghjklöä", "yxcvbnm,.-")]
    [InlineData("de-ch", "+\"*ç%&/()=?", "QWERTZUIOPè!", "ASDFGHJKLéà", "YXCVBNM;:_", KeyNeeds.Shift)]
    [InlineData("fr-ch", "1234567890'", "qwertzuiopè", "asdfghjkléà", "yxcvbnm,.-")]
    [InlineData("fr", "&é\"'(-è_çà)=", "azertyuiop", "qsdfghjklmù", "wxcvbn,;:!")]
    [InlineData("fr", "1234567890°+", "AZERTYUIOP", "QSDFGHJKLM%", "WXCVBN?./§", KeyNeeds.Shift)]
    [InlineData("fr-be", "&é\"'(§è!çà)-", "azertyuiop", "qsdfghjklmù", "wxcvbn,;:=")]
    [InlineData("fr-ca", "1234567890-=", "qwertyuiop", "asdfghjkl;", "zxcvbnm,.é")]
    [InlineData("bepo", "\"«»()@+-/*=%", "bépoè", "auie,ctsrnm", "àyx.k'qghf")]
    [InlineData("es", "1234567890'¡", "qwertyuiop", "asdfghjklñ", "zxcvbnm,.-")]
    [InlineData("es", "!\"·$%&/()=?¿", "QWERTYUIOP", "ASDFGHJKLÑ", "ZXCVBNM;:_", KeyNeeds.Shift)]
    [InlineData("it", "1234567890'ì", "qwertyuiopè+", "asdfghjklòà", "zxcvbnm,.-")]
    [InlineData("pt", "1234567890'«", "qwertyuiop+", "asdfghjklçº", "zxcvbnm,.-")]
    [InlineData("pt-br", "1234567890-=", "qwertyuiop", "asdfghjklç", "zxcvbnm,.;")]
    [InlineData("sv", "1234567890+", "qwertyuiopå", "asdfghjklöä", "zxcvbnm,.-")]
    [InlineData("da", "1234567890+", "qwertyuiopå", "asdfghjklæø", "zxcvbnm,.-")]
    [InlineData("no", "1234567890+", "qwertyuiopå", "asdfghjkløæ", "zxcvbnm,.-")]
    [InlineData("fi", "1234567890+", "qwertyuiopå", "asdfghjklöä", "zxcvbnm,.-")]
    [InlineData("is", "1234567890ö-", "qwertyuiopð'", "asdfghjklæ", "zxcvbnm,.þ")]
    [InlineData("nl", "1234567890/°", "qwertyuiop", "asdfghjkl+", "zxcvbnm,.-")]
    [InlineData("pl", "1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")]
    [InlineData("cz", "+ěščřžýáíé=", "qwertzuiopú)", "asdfghjklů§", "yxcvbnm,.-")]
    [InlineData("sk", "+ľščťžýáíé=", "qwertzuiopúä", "asdfghjklô§", "yxcvbnm,.-")]
    [InlineData("hu", "123456789öüó", "qwertzuiopőú", "asdfghjkléá", "yxcvbnm,.-")]
    [InlineData("hr", "1234567890'+", "qwertzuiopšđ", "asdfghjklčć", "yxcvbnm,.-")]
    [InlineData("sl", "1234567890'+", "qwertzuiopšđ", "asdfghjklčć", "yxcvbnm,.-")]
    [InlineData("lt", "ąčęėįšųū", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")]
    [InlineData("lv", "1234567890-=", "qwertyuiop[]", "asdfghjkl;", "zxcvbnm,./")]
    [InlineData("et", "1234567890+", "qwertyuiopüõ", "asdfghjklöä", "zxcvbnm,.-")]
    [InlineData("ru", "1234567890-=", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю.")]
    [InlineData("ru", "!\"№;%:?*()_+", "ЙЦУКЕНГШЩЗХЪ", "ФЫВАПРОЛДЖЭ", "ЯЧСМИТЬБЮ,", KeyNeeds.Shift)]
    [InlineData("tr", "1234567890*-", "qwertyuıopğü", "asdfghjklşi", "zxcvbnmöç.")]
    [InlineData("mk", "1234567890-=", "љњертѕуиопшѓ", "асдфгхјклчќ", "зџцвбнм,.")]
    [InlineData("th", "ๅ/-ภถุึคตจขช", "ๆไำพะัีรนยบล", "ฟหกดเ้่าสวง", "ผปแอิืทมใฝ")]
    [InlineData("ja", "1234567890-^", "qwertyuiop@[", "asdfghjkl;:", "zxcvbnm,./")]
    [InlineData("ja", "!\"#$%&'()", "QWERTYUIOP`{", "ASDFGHJKL+*", "ZXCVBNM<>?", KeyNeeds.Shift)]
    [InlineData("ar", "1234567890-=", "ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤرىةوزظ")]
    public void Rows_AreWhereTheyArePrinted(string name, string digits, string upper, string middle, string lower, KeyNeeds needs = KeyNeeds.None)
    {
        var keymap = Keymap.Load(name);
        foreach (var (row, first) in new[] { (digits, 0x02), (upper, 0x10), (middle, 0x1e), (lower, 0x2c) })
        {
            // The Arabic keyboard has two letters on one key.
            var key = first;
            foreach (var rune in row.EnumerateRunes())
            {
                if (name == "ar" && key == 0x30) key++;
                Assert.Contains(keymap.Find(0x0100_0000u | (uint)rune.Value), e => e.Key == key && (e.Needs & (KeyNeeds.Shift | KeyNeeds.AltGr)) == needs && e.Dead == 0);
                key++;
            }
        }
    }

    [Theory]
    [InlineData("de", '@', 0x10)]
    [InlineData("de", '€', 0x12)]
    [InlineData("de", '{', 0x08)]
    [InlineData("de", '\\', 0x0c)]
    [InlineData("de", '|', 0x56)]
    [InlineData("fr", '@', 0x0b)]
    [InlineData("fr", '#', 0x04)]
    [InlineData("es", '@', 0x03)]
    [InlineData("it", '@', 0x27)]
    [InlineData("sv", '@', 0x03)]
    [InlineData("pl", 'ą', 0x1e)]
    [InlineData("pl", 'ż', 0x2c)]
    [InlineData("hu", '@', 0x2f)]
    [InlineData("pt", '@', 0x03)]
    [InlineData("tr", '@', 0x10)]
    [InlineData("en-gb", '€', 0x05)]
    public void AltGr_IsNeeded(string name, char character, int key)
    {
        Assert.True(Keymap.Load(name).TryMap(0x0100_0000u | character, out var entry));
        Assert.Equal((ushort)key, entry.Key);
        Assert.Equal(KeyNeeds.AltGr, entry.Needs & ~KeyNeeds.Letter);
    }

    /// <summary>The same character as Latin-1, in the old numbering, and in Unicode's.</summary>
    [Theory]
    [InlineData("de", 0xfcu, 0x0100_00fcu, 0x1a)]
    [InlineData("pl", 0x1b1u, 0x0100_0105u, 0x1e)]
    [InlineData("ru", 0x6c6u, 0x0100_0444u, 0x1e)]
    [InlineData("cz", 0x1ecu, 0x0100_011bu, 0x03)]
    [InlineData("ar", 0x5d3u, 0x0100_0633u, 0x1f)]
    [InlineData("th", 0xdbfu, 0x0100_0e1fu, 0x1e)]
    [InlineData("de", 0x20acu, 0x0100_20acu, 0x12)]
    [InlineData("tr", 0x2b9u, 0x0100_0131u, 0x17)]
    [InlineData("en-us", 0xff0du, 0x0100_000du, 0x1c)]
    public void Keysyms_OfAllKinds_AreOne(string name, uint old, uint unicode, int key)
    {
        var keymap = Keymap.Load(name);
        Assert.True(keymap.TryMap(old, out var first));
        Assert.True(keymap.TryMap(unicode, out var second));
        Assert.Equal(first, second);
        Assert.Equal((ushort)key, first.Key);
    }

    [Theory]
    [InlineData(0xff08u, 0x0e)]
    [InlineData(0xffffu, 0xe053)]
    [InlineData(0xff51u, 0xe04b)]
    [InlineData(0xffbeu, 0x3b)]
    [InlineData(0xffc7u, 0x44)]
    [InlineData(0xffc8u, 0x57)]
    [InlineData(0xffc9u, 0x58)]
    [InlineData(0xffb0u, 0x52)]
    [InlineData(0xffb9u, 0x49)]
    [InlineData(0xff95u, 0x47)]
    [InlineData(0xff9fu, 0x53)]
    [InlineData(0xff8du, 0xe01c)]
    [InlineData(0xffe3u, 0x1d)]
    [InlineData(0xffe4u, 0xe01d)]
    [InlineData(0xff13u, 0xe11d)]
    [InlineData(0xff61u, 0xe037)]
    public void KeysWithoutCharacters_AreTheSameInAllLayouts(uint keysym, int key)
    {
        foreach (var name in Keymap.Names)
        {
            Assert.True(Keymap.Load(name).TryMap(keysym, out var entry));
            Assert.Equal((ushort)key, entry.Key);
            Assert.True((entry.Needs & KeyNeeds.Anything) != 0);
        }
    }

    [Theory]
    [MemberData(nameof(AllNames))]
    public void EveryLayout_HasAsciiAndItsOwnCharacters_AndNoKeyOutOfPlace(string name)
    {
        var keymap = Keymap.Load(name);
        for (var c = 0x20u; c < 0x7f; c++) Assert.True(keymap.TryMap(c, out _), $"'{(char)c}'");
        foreach (var (key, row) in Layouts.Find(name)!)
        {
            Assert.True(key is >= 2 and <= 0x39 or 0x56 or 0x73 or 0x7d);
            for (var level = 0; level < row.Length; level++)
            {
                if (row[level] == 0) continue;
                Assert.Contains(keymap.Find(row[level]), e => e.Key == key && (int)(e.Needs & (KeyNeeds.Shift | KeyNeeds.AltGr)) == level);
            }
        }
    }

    [Fact]
    public void AnyKeysym_IsHarmless()
    {
        var random = new Random(5);
        var keymap = Keymap.Load("fr");
        foreach (var keysym in new[] { 0u, uint.MaxValue, 0x0100_0000u, 0x0110_ffffu, 0x0111_0000u, 0x0100_d800u, 0xff00u, 0x20ffu, 0x2100u }) keymap.TryMap(keysym, out _);
        for (var i = 0; i < 100_000; i++) keymap.TryMap((uint)random.NextInt64(1L << random.Next(1, 33)), out _);
    }

    /// <summary>With the tools and the version of the data that made it, the file is made again. Elsewhere there is nothing to compare.</summary>
    [HostFact("/usr/bin/python3", "/usr/bin/dpkg-query", "/usr/share/X11/xkb/symbols/us", TestHost.Libraries + "libxkbcommon.so.0")]
    public void CommittedLayouts_AreThoseOfTheSource()
    {
        var folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "XenDM.sln"))) folder = Path.GetDirectoryName(folder);
        Assert.NotNull(folder);
        using var process = Process.Start(new ProcessStartInfo("/usr/bin/python3", [Path.Combine(folder, "src/XenDM.Vnc/Keymaps/make.py"), "--check"]) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.Equal("", error);
        Assert.Equal(0, process.ExitCode);
    }
}
